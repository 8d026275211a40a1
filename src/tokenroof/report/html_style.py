"""The look of the report page: light and dark, on a screen and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #24292f; --faint: #57606a; --ghost: #b3bac2; --line: #e4e8ec; --paper: #ffffff; --ground: #f6f7f9;
  --best: #176f3d; --best-ground: #e7f5ec; --bad: #b3261e; --head: #eef1f4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e9ed; --faint: #a4adb8; --ghost: #68727d; --line: #30363d; --paper: #1a1e24; --ground: #12151a;
    --best: #6fd394; --best-ground: #17301f; --bad: #ff8f86; --head: #232830;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Liberation Sans", Arial, Helvetica, sans-serif;
}
main { max-width: 1320px; margin: 0 auto; padding: 28px 20px 60px; }
header p { margin: 4px 0; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 8px; }
h1 span { font-weight: 400; color: var(--faint); }
h2 { font-size: 19px; margin: 0 0 12px; }
h3 { font-size: 16px; margin: 18px 0 4px; }
section {
  background: var(--paper); border: 1px solid var(--line); border-radius: 8px;
  padding: 18px 20px; margin: 18px 0;
}
p { margin: 6px 0; }
.lead { font-size: 18px; font-weight: 600; }
.pair { display: flex; flex-wrap: wrap; gap: 8px 32px; }
.pair > div { flex: 1 1 480px; min-width: 0; }
pre { margin: 6px 0; font: 12.5px/1.45 ui-monospace, "Liberation Mono", Menlo, monospace; }
.faint, figcaption, footer { color: var(--faint); font-size: 13.5px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13.5px; line-height: 1.4; }
th, td {
  text-align: left; vertical-align: top; padding: 4px 12px 4px 8px; border-bottom: 1px solid var(--line);
}
th { font-weight: 600; }
tbody th { font-weight: 400; color: var(--faint); white-space: nowrap; }
thead th { background: var(--head); white-space: nowrap; }
tr.end > * { border-bottom: 2px solid var(--ghost); }
tbody th.head { font-weight: 600; color: var(--ink); padding-top: 10px; }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:not(.num) { min-width: 5em; }
.best { color: var(--best); background: var(--best-ground); font-weight: 600; }
.bad { color: var(--bad); }
figure { margin: 0; }
figure svg { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: 8px; max-width: 90ch; }
article { border-top: 1px solid var(--line); padding: 2px 0 10px; }
article:first-of-type { border-top: 0; }
article > p { max-width: 100ch; }
details { margin: 8px 0; }
summary { cursor: pointer; font-weight: 600; font-size: 14px; }
details .wide { margin-top: 6px; }
ul { margin: 0; padding-left: 20px; font-size: 13.5px; }
li { margin: 2px 0; overflow-wrap: anywhere; }
@media print {
  :root {
    --ink: #111; --faint: #444; --ghost: #999; --line: #ccc; --paper: #fff; --ground: #fff;
    --best: #176f3d; --best-ground: #fff; --bad: #b3261e; --head: #eee;
  }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  section { border: 0; padding: 0; break-inside: auto; }
  figure, tr { break-inside: avoid; }
  h2, h3, summary { break-after: avoid; }
  .wide { overflow: visible; }
  table { font-size: 8.5pt; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
