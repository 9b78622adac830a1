//! The figures as a picture: requests per second and p99, a bar for each side, as SVG in plain text. Legible on light and on dark, and told in
//! words to whoever does not see it.

use std::fmt::Write as _;

use super::super::report::BAR_CONNECTIONS;
use super::keyward;
use super::report::{Report, Side};

/// Pixels.
const WIDTH: f64 = 820.0;
const MARGIN: f64 = 24.0;
/// Where bars begin: right of the longest name.
const BARS_FROM: f64 = 236.0;
/// The longest bar; its figure stands right of it.
const BAR_MAX: f64 = 480.0;
const BAR_HEIGHT: f64 = 18.0;
const ROW: f64 = 28.0;
const HEADING: f64 = 44.0;

/// Colours on light and on dark.
const STYLE: &str = "
  .paper { fill: #ffffff; stroke: #d0d7de; }
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328; }
  .heading { font-size: 15px; font-weight: 600; }
  .name { text-anchor: end; }
  .ours { fill: #1f6feb; }
  .theirs { fill: #8c959f; }
  .ceiling { fill: none; stroke: #8c959f; stroke-dasharray: 4 3; }
  .strong { font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; stroke: #30363d; }
    text { fill: #e6edf3; }
    .ours { fill: #58a6ff; }
    .theirs { fill: #6e7681; }
    .ceiling { stroke: #8b949e; }
  }
";

/// A figure of a side, and how it is written.
struct Panel {
    heading: String,
    rows: Vec<(&'static str, bool, f64, String)>,
}

/// The picture.
pub fn draw(report: &Report) -> String {
    let panels = [
        panel(report, "checks per second (more is better)", |side| {
            let per_second = side.checks.get(&BAR_CONNECTIONS)?.per_second();
            Some((per_second, thousands(per_second)))
        }),
        panel(report, "p99 in milliseconds (less is better)", |side| {
            let p99_ms = side.checks.get(&BAR_CONNECTIONS)?.p99_ms();
            Some((p99_ms, format!("{p99_ms:.1}")))
        }),
    ];
    let mut body = String::new();
    let mut y = MARGIN / 2.0;
    for panel in &panels {
        y = panel.draw(&mut body, y);
    }
    let height = y + MARGIN / 2.0;
    let told: Vec<String> = panels.iter().map(Panel::told).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-labelledby=\"title desc\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <title id=\"title\">Checks of API keys, side by side</title>\n<desc id=\"desc\">{}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n{body}</svg>\n",
        escaped(&told.join(" ")),
        WIDTH - 1.0,
        height - 1.0,
    )
}

fn panel(report: &Report, what: &str, figure: impl Fn(&Side) -> Option<(f64, String)>) -> Panel {
    let rows = report.sides.iter().filter_map(|side| {
        let (value, written) = figure(side)?;
        Some((side.name, side.is_ceiling, value, written))
    });
    Panel { heading: format!("{BAR_CONNECTIONS} connections: {what}"), rows: rows.collect() }
}

impl Panel {
    /// Draws it from `y` on; where it ends.
    fn draw(&self, body: &mut String, mut y: f64) -> f64 {
        let longest = self.rows.iter().map(|(.., value, _)| *value).fold(f64::MIN_POSITIVE, f64::max);
        // Writing into a text does not fail.
        let _ = writeln!(
            body,
            "<text class=\"heading\" x=\"{MARGIN}\" y=\"{:.1}\">{}</text>",
            y + HEADING * 0.6,
            escaped(&self.heading)
        );
        y += HEADING;
        for (name, is_ceiling, value, written) in &self.rows {
            let (bar, weight) = match (*name == keyward::NAME, is_ceiling) {
                (true, _) => ("ours", " strong"),
                (false, true) => ("ceiling", ""),
                (false, false) => ("theirs", ""),
            };
            // What is nearly nothing is still seen.
            let length = (value / longest * BAR_MAX).max(2.0);
            let baseline = y + BAR_HEIGHT - 4.5;
            let _ = writeln!(
                body,
                "<text class=\"name{weight}\" x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>\
                 <rect class=\"{bar}\" x=\"{BARS_FROM}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>\
                 <text class=\"figure{weight}\" x=\"{:.1}\" y=\"{baseline:.1}\">{written}</text>",
                BARS_FROM - 10.0,
                escaped(name),
                BARS_FROM + length + 8.0,
            );
            y += ROW;
        }
        y
    }

    /// In words.
    fn told(&self) -> String {
        let rows: Vec<String> =
            self.rows.iter().map(|(name, _, _, written)| format!("{name} {written}")).collect();
        format!("{}: {}.", self.heading, rows.join("; "))
    }
}

/// A whole number with a comma between thousands.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_parted() {
        for (value, text) in [(0.4, "0"), (999.6, "1,000"), (12_345.0, "12,345"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(thousands(value), text);
        }
    }

    #[test]
    fn every_side_is_drawn_and_told() {
        let svg = draw(&Report::made_up(&[("Keyward", 9_000, 1_000), ("A <b> & c", 10, 50_000)]));
        assert_eq!(svg.matches("<rect").count(), 5);
        assert!(svg.contains("Keyward 9,000; A &lt;b&gt; &amp; c 10."), "{svg}");
        assert!(svg.contains("role=\"img\""));
    }
}
