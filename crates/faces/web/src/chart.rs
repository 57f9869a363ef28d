//! Charts as SVG, made here: bars over time, with a title on each for the eye and for readers of screens. The numbers stand in
//! a table below every chart.

use std::fmt::Write as _;

/// Width and height of a chart in its own units; a page scales it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;
/// Room at the bottom for labels.
const FOOT: f64 = 18.0;

/// One bar: its label, what it says, and its parts from the bottom up, each with the class of its colour.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) title: String,
    pub(crate) parts: Vec<(&'static str, u64)>,
}

/// Stacked bars. Empty where there are none.
pub(crate) fn bars(name: &str, bars: &[Bar]) -> String {
    let sum = |bar: &Bar| bar.parts.iter().map(|(_, n)| n).sum::<u64>();
    let most = bars.iter().map(sum).max().unwrap_or_default();
    if bars.is_empty() || most == 0 {
        return String::new();
    }
    let step = WIDTH / bars.len() as f64;
    let scale = (HEIGHT - FOOT) / most as f64;
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escaped(name)
    );
    let every = bars.len().div_ceil(8).max(1);
    for (n, bar) in bars.iter().enumerate() {
        let x = step * n as f64;
        let mut y = HEIGHT - FOOT;
        let mut rects = format!("<g><title>{}</title>", escaped(&bar.title));
        for (class, count) in bar.parts.iter().filter(|(_, count)| *count > 0) {
            let height = (*count as f64 * scale).max(0.5);
            y -= height;
            put(
                &mut rects,
                format_args!(
                    "<rect class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                    x + step * 0.08,
                    step * 0.84
                ),
            );
        }
        rects.push_str("</g>");
        svg.push_str(&rects);
        if n.is_multiple_of(every) {
            put(
                &mut svg,
                format_args!(
                    "<text x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                    HEIGHT - 4.0,
                    escaped(&bar.label)
                ),
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(what);
    debug_assert!(written.is_ok(), "a string takes everything");
}

/// A text within XML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in crate::filters::wire(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_drawn_and_names_do_nothing() {
        let bar = |label: &str, n| Bar {
            label: label.to_owned(),
            title: format!("<script>{n}"),
            parts: vec![("good", n), ("bad", 0)],
        };
        let svg = bars("a \"chart\"", &[bar("a&b", 2), bar("", 4)]);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("&lt;script&gt;2") && svg.contains("a&amp;b"));
        assert!(svg.contains("aria-label=\"a &quot;chart&quot;\""));
        assert!(!svg.contains("<script") && !svg.contains("style="));
        assert_eq!(bars("nothing", &[]), "");
        assert_eq!(bars("zeros", &[bar("a", 0)]), "");
    }
}
