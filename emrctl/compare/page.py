"""Style and script of the comparison's page: readable by day and by night, and on paper."""

STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #fff; --soft: #f3f5f7; --line: #d5dae0;
  --dim: #57606a; --mark: #fff3d6; --mark-text: #6b4700; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ed; --back: #14171b; --soft: #1e2329; --line: #363d46; --dim: #9aa4af;
    --mark: #4a3700; --mark-text: #ffdf9e; }
}
body { margin: 0; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 32px 0 8px; overflow-wrap: anywhere; }
ul { padding-left: 20px; margin: 8px 0; }
.notes { list-style: none; padding: 8px 12px; background: var(--mark); color: var(--mark-text);
  border-radius: 6px; }
.mark { font-size: 12px; padding: 1px 8px; border-radius: 9px; background: var(--mark);
  color: var(--mark-text); white-space: nowrap; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; overflow-wrap: anywhere; }
th[scope=row] { text-align: left; font-weight: 400; color: var(--dim); max-width: 280px; }
tbody tr:hover { background: var(--soft); }
section { margin-top: 40px; border-top: 1px solid var(--line); }
.app { color: var(--dim); margin: 12px 0 0; overflow-wrap: anywhere; }
.chart { width: 100%; }
@media print { main { max-width: none; } tbody tr:hover { background: none; } }
"""

# Colours of text and lines come from the page at the time of drawing, and again when the
# reader's system changes between light and dark.
SCRIPT = """
const charts = JSON.parse(document.getElementById("charts").textContent);
function draw() {
  const style = getComputedStyle(document.documentElement);
  const take = (name) => style.getPropertyValue(name).trim();
  const line = take("--line");
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line };
  for (const chart of charts) {
    const layout = { ...chart.layout, font: { color: take("--text"), size: 12 },
      hoverlabel: { align: "left" },
      xaxis: { ...chart.layout.xaxis, ...axis }, yaxis: { ...chart.layout.yaxis, ...axis } };
    Plotly.react(chart.id, chart.data, layout, { responsive: true, displayModeBar: false });
  }
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
"""
