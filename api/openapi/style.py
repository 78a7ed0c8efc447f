"""How the page looks: one column of text beside a list of operations, in the browser's own light or dark."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--link:#0a58ca}
@media(prefers-color-scheme:dark){:root{--link:#8ab4f8}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0;font:16px/1.5 system-ui,sans-serif;display:flex}
nav{width:19rem;flex:none;height:100vh;position:sticky;top:0;overflow:auto;padding:1rem;
border-right:1px solid var(--line);font-size:.875rem}
nav ul{list-style:none;margin:.2rem 0 .6rem;padding:0 0 0 .9rem}
nav summary{cursor:pointer;padding:.2rem 0}
nav .home{display:block;font-weight:700;font-size:1.1rem;margin-bottom:.6rem}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
main{padding:1rem 2.5rem 6rem;max-width:62rem;min-width:0;flex:1}
h1 small{font-weight:400;opacity:.6}
h2{margin-top:3rem;border-bottom:1px solid var(--line);padding-bottom:.3rem}
section{margin:2rem 0;padding:1rem 1.25rem;border:1px solid var(--line);border-radius:.5rem}
section:target{border-color:var(--link)}
h3{margin:.1rem 0 .5rem}
code,pre{font:13px/1.45 ui-monospace,monospace;background:var(--soft);border-radius:.25rem}
code{padding:.1rem .3rem}pre{padding:.7rem .9rem;overflow:auto}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem;margin:.6rem 0}
th,td{text-align:left;vertical-align:top;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line)}
th{font-weight:600;opacity:.7}
b.get{color:#15803d}b.post{color:#b45309}b.put,b.patch{color:#7c3aed}b.delete{color:#dc2626}
nav b{display:inline-block;min-width:3.6rem;font-size:.7rem}
abbr{cursor:help}
@media(max-width:50rem){body{display:block}nav{width:auto;height:auto;position:static;border:0}
main{padding:1rem}}
"""
