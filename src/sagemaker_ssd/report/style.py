"""The page's style sheet: light and dark, from 360 pixels on, and on paper."""

# The lines' colours are told apart with colour-blind eyes too (after Okabe and Ito), and each line has dashes of its
# own; all have a contrast of 3 to 1 or more with the ground, text 4.5 to 1 or more.
STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f4f6f8; --ink: #1b1f23; --soft: #59636e; --edge: #d3d9df;
  --right: #0072b2; --wrong: #c04f00; --right-fill: 0 114 178; --wrong-fill: 213 94 0;
  --line-0: #0072b2; --line-1: #c04f00; --line-2: #00795a; --line-3: #a3407c; --line-4: #7a6100; --line-5: #5b4bb5;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ground: #14181c; --raised: #1e242a; --ink: #e8ecef; --soft: #a4afb9; --edge: #3a434c;
    --right: #56b4e9; --wrong: #f0935a; --right-fill: 60 150 210; --wrong-fill: 215 105 40;
    --line-0: #56b4e9; --line-1: #f0935a; --line-2: #3fc9a2; --line-3: #e59cc8; --line-4: #e0c24a; --line-5: #a99cf0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--edge); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
p, li { max-width: 46rem; }
p { margin: .5rem 0; }
.soft, figcaption, small { color: var(--soft); }
a { color: var(--right); }
nav a { display: inline-block; padding: .25rem .75rem .25rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.tiles div { background: var(--raised); border-radius: .5rem; padding: .6rem .8rem; }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.1rem; font-weight: 600; }
.tiles .main dd { font-size: 2.6rem; line-height: 1.1; overflow-wrap: normal; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem 2rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); gap: 1rem; }
.columns > div { min-width: 0; }
figure { margin: 0; break-inside: avoid; }
figcaption { font-size: .9rem; margin-top: .25rem; max-width: 34rem; }
.chart { display: block; width: 100%; max-width: 34rem; height: auto; }
.chart text { font-family: system-ui, sans-serif; }
.picture { display: block; width: 100%; height: auto; border-radius: .25rem; }
.picture rect { fill: none; vector-effect: non-scaling-stroke; }
.picture .casing { stroke: #000; stroke-opacity: .55; stroke-width: 3.5px; }
.picture .box { stroke-width: 2px; }
.picture .object { stroke: #fff; stroke-dasharray: 6 4; }
.picture .right { stroke: #56b4e9; }
.picture .wrong { stroke: #ff9e3d; }
.picture .casing.focus { stroke-width: 7px; }
.picture .box.focus { stroke-width: 4px; }
.picture .object.focus { stroke: #f0e442; }
.picture text {
  font: 600 17px system-ui, sans-serif; fill: #fff; stroke: #000 !important; stroke-width: 4px;
  stroke-dasharray: none !important; stroke-linejoin: round; paint-order: stroke;
}
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
.legend .picture { display: inline-block; width: 2.2rem; height: 1.3rem; vertical-align: middle; margin-right: .35rem; }
.unread {
  display: grid; place-items: center; aspect-ratio: 4 / 3; padding: 1rem; text-align: center;
  border: 1px dashed var(--soft); border-radius: .25rem; color: var(--soft);
}
.scroll { overflow-x: auto; margin: .75rem 0; }
.scroll:focus-visible { outline: 2px solid var(--right); }
table {
  border-collapse: separate; border-spacing: 0; overflow-wrap: normal;
  font-variant-numeric: tabular-nums; font-size: .92rem;
}
caption { text-align: left; color: var(--soft); padding-bottom: .25rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--edge); text-align: right; vertical-align: top; }
th { font-weight: 600; }
thead th { vertical-align: bottom; }
tbody th, th:first-child, th.text { text-align: left; }
thead th { max-width: 9rem; overflow-wrap: break-word; }
tbody th {
  position: sticky; left: 0; min-width: 6rem; max-width: min(18rem, 40vw);
  background: var(--ground); font-weight: 500; overflow-wrap: anywhere;
}
td { white-space: nowrap; }
td.text { min-width: 10rem; text-align: left; white-space: normal; overflow-wrap: anywhere; }
td.bar { min-width: 9rem; }
.bar span { display: block; position: relative; height: .5rem; margin-top: .15rem; border-radius: .25rem; }
.bar span { background: var(--edge); }
.bar i { position: absolute; inset: 0 auto 0 0; border-radius: .25rem; background: var(--right); }
.confusion td { text-align: center; min-width: 3rem; }
.confusion td.zero { color: var(--soft); }
details { margin: .75rem 0; }
summary { cursor: pointer; }
.bar span, .bar i, .confusion td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
@media print {
  nav { display: none; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3 { break-after: avoid; }
  tr { break-inside: avoid; }
  .pictures { grid-template-columns: repeat(3, 1fr); }
  .pictures .picture { max-height: 6.5cm; }
  .chart { max-width: 9cm; }
  .scroll { overflow: visible; }
  tbody th { position: static; }
}
"""
