//! The picture: how near each app comes to a page without a session, and what it keeps.
//!
//! It knows numbers and names, and nothing of how they were measured.

use anyhow::Result;
use plotters::{
    backend::SVGBackend,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea as _},
    element::{Circle, PathElement, Rectangle, Text},
    style::{
        Color as _, FontStyle, IntoFont as _, RGBColor, TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::contestant::By;

/// The apps of one store.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) rows: Vec<Row>,
}

/// One app. A number that was not measured is none.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) by: By,
    /// Requests per second as a ratio to the floor: the sessions in turn, and one for all.
    pub(super) to_plain: [Option<f64>; 2],
    /// Acknowledged increments that are kept, as a part of 1: by one process, and by two.
    pub(super) kept: [Option<f64>; 2],
}

const WIDTH: i32 = 1160;
const MARGIN: i32 = 28;
const HEAD: i32 = 132;
const GROUP_HEAD: i32 = 34;
const ROW: i32 = 30;
const FOOT: i32 = 58;

const NAMES_END: i32 = 286;
const BAR: i32 = 9;

/// The left end of a panel, and how long 1 is in it.
#[derive(Clone, Copy, Debug)]
struct Panel {
    left: i32,
    length: i32,
}

const SPEED: Panel = Panel { left: 300, length: 400 };
const KEPT: Panel = Panel { left: 790, length: 280 };

const INK: RGBColor = RGBColor(33, 37, 41);
const FAINT: RGBColor = RGBColor(110, 118, 126);
const LINE: RGBColor = RGBColor(228, 231, 235);
const FLOOR: RGBColor = RGBColor(173, 181, 189);
const BAND: RGBColor = RGBColor(255, 247, 240);

/// The first of two bars, and the second.
fn colors(by: By) -> [RGBColor; 2] {
    match by {
        By::Ingle => [RGBColor(217, 72, 15), RGBColor(255, 169, 77)],
        By::Peer => [RGBColor(73, 80, 87), RGBColor(173, 181, 189)],
        By::Hand => [RGBColor(12, 113, 133), RGBColor(119, 201, 213)],
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The whole picture, as SVG. `below` is the line at its foot.
pub(super) fn svg(groups: &[Group], below: &str) -> Result<String> {
    let rows: usize = groups.iter().map(|group| group.rows.len()).sum();
    let (rows, n_groups) = (i32::try_from(rows)?, i32::try_from(groups.len())?);
    let height = HEAD + n_groups * GROUP_HEAD + rows * ROW + FOOT;
    let mut svg = String::new();
    {
        let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        head(&area)?;
        grid(&area, height - FOOT)?;
        let mut y = HEAD;
        for group in groups {
            text(&area, &group.name, (MARGIN, y + GROUP_HEAD / 2 + 4), &bold(15), HPos::Left)?;
            y += GROUP_HEAD;
            for one in &group.rows {
                row(&area, one, y)?;
                y += ROW;
            }
        }
        text(&area, below, (MARGIN, height - FOOT / 2 + 6), &plain(12, &FAINT), HPos::Left)?;
        area.present()?;
    }
    Ok(svg)
}

fn head(area: &Area<'_>) -> Result<()> {
    text(
        area,
        "Sessions: how fast, and how many changes are kept",
        (MARGIN, 34),
        &bold(21),
        HPos::Left,
    )?;
    let titles = [
        (SPEED, "Requests per second, page without a session = 1"),
        (KEPT, "Acknowledged increments kept"),
    ];
    for (panel, title) in titles {
        text(area, title, (panel.left, 72), &bold(14), HPos::Left)?;
    }
    let legends = [
        (SPEED, ["1000 sessions in turn", "one session for all"]),
        (KEPT, ["1 process", "2 processes"]),
    ];
    for (panel, names) in legends {
        let mut x = panel.left;
        for (name, color) in names.into_iter().zip(colors(By::Peer)) {
            area.draw(&Rectangle::new([(x, 88), (x + 14, 88 + BAR)], color.filled()))?;
            text(area, name, (x + 20, 93), &plain(12, &FAINT), HPos::Left)?;
            x += if panel.left == SPEED.left { 170 } else { 100 };
        }
    }
    Ok(())
}

/// A line at each fifth, and the floor, to which everything is compared.
fn grid(area: &Area<'_>, bottom: i32) -> Result<()> {
    for fifth in 0..=5 {
        for (panel, label) in
            [(SPEED, format!("{:.1}", f64::from(fifth) / 5.0)), (KEPT, format!("{} %", fifth * 20))]
        {
            let x = panel.left + panel.length * fifth / 5;
            let color = if fifth == 5 { FLOOR } else { LINE };
            area.draw(&PathElement::new(vec![(x, HEAD - 4), (x, bottom)], color.stroke_width(1)))?;
            text(area, &label, (x, HEAD - 14), &plain(11, &FAINT), HPos::Center)?;
        }
    }
    Ok(())
}

fn row(area: &Area<'_>, row: &Row, y: i32) -> Result<()> {
    let middle = y + ROW / 2;
    let ours = row.by == By::Ingle;
    if ours {
        let band = [(MARGIN - 12, y), (SPEED.left - 2, y + ROW)];
        area.draw(&Rectangle::new(band, BAND.filled()))?;
    }
    let style = if ours { bold(14) } else { plain(13, &INK) };
    text(area, &row.name, (NAMES_END, middle), &style, HPos::Right)?;
    bars(area, SPEED, row.by, row.to_plain, middle, |ratio| format!("{ratio:.2}"))?;
    bars(area, KEPT, row.by, row.kept, middle, |part| percent(100.0 * part))?;
    if row.kept[1].is_none() {
        let at = (KEPT.left + 6, middle + 1 + BAR / 2 + 1);
        text(area, "processes share no sessions", at, &plain(10, &FLOOR), HPos::Left)?;
    }
    Ok(())
}

/// All is told from nearly all.
fn percent(value: f64) -> String {
    if value < 100.0 && value > 99.0 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// Two bars, one above the other, each with its number behind it.
fn bars(
    area: &Area<'_>,
    panel: Panel,
    by: By,
    values: [Option<f64>; 2],
    middle: i32,
    show: fn(f64) -> String,
) -> Result<()> {
    for ((value, color), top) in
        values.into_iter().zip(colors(by)).zip([middle - BAR - 1, middle + 1])
    {
        let Some(value) = value.filter(|value| value.is_finite()) else { continue };
        let length = (f64::from(panel.length) * value.clamp(0.0, 1.1)).round() as i32;
        let end = panel.left + length;
        area.draw(&Rectangle::new([(panel.left, top), (end, top + BAR)], color.filled()))?;
        if length < 2 {
            area.draw(&Circle::new((panel.left, top + BAR / 2), 2, color.filled()))?;
        }
        text(area, &show(value), (end + 6, top + BAR / 2 + 1), &plain(10, &FAINT), HPos::Left)?;
    }
    Ok(())
}

fn bold(size: i32) -> TextStyle<'static> {
    ("sans-serif", size, FontStyle::Bold).into_font().color(&INK)
}

fn plain(size: i32, color: &RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(color)
}

fn text(
    area: &Area<'_>,
    words: &str,
    at: (i32, i32),
    style: &TextStyle<'_>,
    end: HPos,
) -> Result<()> {
    let style = style.pos(Pos::new(end, VPos::Center));
    Ok(area.draw(&Text::new(words.to_owned(), at, style))?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) fn sample() -> Vec<Group> {
        let row = |name: &str, by, to_plain: [f64; 2], kept: [f64; 2]| Row {
            name: name.to_owned(),
            by,
            to_plain: to_plain.map(Some),
            kept: kept.map(Some),
        };
        let rows = vec![
            row("ingle", By::Ingle, [0.48, 0.71], [1.0, 1.0]),
            row("tower-sessions", By::Peer, [0.30, 0.31], [0.07, 0.071]),
            row("axum_session", By::Peer, [0.19, 0.2], [0.995, 0.41]),
            row("by hand, one script", By::Hand, [0.47, 0.5], [1.0, 1.0]),
        ];
        let mut memory = rows.clone();
        memory.iter_mut().for_each(|row| row.kept[1] = None);
        let groups = [("In memory", memory), ("On Redis", rows)];
        groups.into_iter().map(|(name, rows)| Group { name: name.to_owned(), rows }).collect()
    }

    #[test]
    fn every_app_has_its_bars() {
        let svg = svg(&sample(), "a line below").unwrap();
        for words in ["ingle", "axum_session", "by hand, one script", "On Redis", "99.5 %", "0.48"]
        {
            assert!(svg.contains(words), "{words}");
        }
        assert!(svg.ends_with("</svg>\n"), "it is whole");
    }

    #[test]
    fn what_was_not_measured_has_no_bar() {
        let mut groups = sample();
        groups[1].rows[0].to_plain = [None, Some(f64::NAN)];
        let count = |groups: &[Group]| svg(groups, "").unwrap().matches("<rect").count();
        assert_eq!(count(&sample()) - count(&groups), 2);
    }
}
