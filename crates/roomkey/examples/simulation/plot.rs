//! The picture of a simulation: calls in each second, one panel for each scenario.

use std::fmt::Write as _;

use crate::model::Calls;

/// One scenario.
pub(crate) struct Panel {
    pub(crate) name: &'static str,
    pub(crate) with: Calls,
    pub(crate) without: Calls,
    /// Calls a second, if all come once within the window.
    pub(crate) mean: f64,
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 150.0;
const MARGIN: f64 = 40.0;
const GAP: f64 = 50.0;

/// A panel shows so many times the mean; what is above is cut off.
const TALLEST: f64 = 4.0;

/// An SVG that needs nothing else.
pub(crate) fn draw(panels: &[Panel]) -> String {
    let (width, height) = (WIDTH + 2.0 * MARGIN, panels.len() as f64 * (HEIGHT + GAP) + MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (number, panel) in panels.iter().enumerate() {
        let top = MARGIN + number as f64 * (HEIGHT + GAP);
        writeln!(svg, "<g transform=\"translate({MARGIN} {top})\">{}</g>", panel.draw())
            .expect("a text takes more text");
    }
    svg + "</svg>\n"
}

impl Panel {
    fn draw(&self) -> String {
        let (first, busiest) = (self.with.0[0], self.without.peak(1..self.without.0.len()));
        let mean_at = HEIGHT - HEIGHT / TALLEST;
        format!(
            "\n<text y=\"-10\"><tspan font-weight=\"bold\">{}</tspan>: {first} first calls; then at most \
             <tspan fill=\"#0a58ca\">{} a second with jitter</tspan>, <tspan fill=\"#c0392b\">{busiest} without</tspan>\
             </text>\n<path d=\"M0 0V{HEIGHT}H{WIDTH}\" fill=\"none\" stroke=\"black\"/>\n\
             <path d=\"M0 {mean_at}H{WIDTH}\" stroke=\"#999\" stroke-dasharray=\"4\"/>\n\
             <text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\" fill=\"#666\">mean over the window: {:.0} a second</text>\n\
             {}{}{}\n",
            self.name,
            self.with.peak(1..self.with.0.len()),
            mean_at - 4.0,
            self.mean,
            self.ticks(),
            self.line(&self.without, "#c0392b"),
            self.line(&self.with, "#0a58ca"),
        )
    }

    fn ticks(&self) -> String {
        let minutes = self.with.0.len() / 60;
        let tick = |minute: usize| {
            let x = minute as f64 * 60.0 * WIDTH / self.with.0.len() as f64;
            format!(
                "<text x=\"{x:.0}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">{minute} min</text>\n",
                HEIGHT + 14.0
            )
        };
        (1..minutes).step_by(2).map(tick).collect()
    }

    /// The calls as steps; where nothing changes there is no point.
    fn line(&self, calls: &Calls, colour: &str) -> String {
        let width = WIDTH / calls.0.len() as f64;
        let mut path = format!("M0 {HEIGHT}");
        let mut before = HEIGHT;
        for (second, calls) in calls.0.iter().enumerate() {
            let height = (f64::from(*calls) / self.mean / TALLEST).min(1.0) * HEIGHT;
            let y = ((HEIGHT - height) * 10.0).round() / 10.0;
            if (y - before).abs() > f64::EPSILON {
                write!(path, "H{:.0}V{y}", second as f64 * width).expect("a text takes more text");
                before = y;
            }
        }
        format!("<path d=\"{path}H{WIDTH}\" fill=\"none\" stroke=\"{colour}\"/>\n")
    }
}
