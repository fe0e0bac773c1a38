//! A page of text, tables, charts and images that needs nothing beside it.

use crate::html::{escape, image, push};
use crate::lines::{Lines, stroke};

/// A page. Texts are escaped where they are written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// Heading.
    pub title: String,
    /// What follows, in order.
    pub blocks: Vec<Block>,
}

/// A part of a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A heading.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A table.
    Grid(Grid),
    /// Charts, as many beside each other as fit.
    Charts(Vec<Lines>),
    /// Small charts.
    SmallCharts(Vec<Lines>),
    /// Names of lines, each with what is to be read off at its end.
    Legend(Vec<(String, usize, String)>),
    /// Groups of images.
    Strips(Vec<Strip>),
    /// Text as it is.
    Code(String),
    /// Blocks that are shown when their heading is opened; printed in any case.
    Folded(String, Vec<Block>),
}

/// A table: a name and numbers in each line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Grid {
    /// Heads of the columns, the names' too.
    pub head: Vec<String>,
    /// Lines; the first cell is the name.
    pub lines: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// From 0 to 1, how dark its ground is.
    pub shade: f64,
    /// Whether it stands out.
    pub strong: bool,
}

/// Images under one heading.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Strip {
    /// Heading.
    pub name: String,
    /// Caption and encoded image, if it could be read.
    pub images: Vec<(String, Option<Vec<u8>>)>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

const STYLE: &str = include_str!("document.css");

impl Document {
    /// The page.
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <link rel=\"icon\" href=\"data:,\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        );
        for block in &self.blocks {
            block.write(&mut html);
        }
        html + "</body></html>\n"
    }
}

impl Block {
    fn write(&self, html: &mut String) {
        match self {
            Self::Heading(text) => push(html, format_args!("<h2>{}</h2>\n", escape(text))),
            Self::Text(text) => push(html, format_args!("<p>{}</p>\n", escape(text))),
            Self::Code(text) => push(html, format_args!("<pre>{}</pre>\n", escape(text))),
            Self::Grid(grid) => grid.write(html),
            Self::Charts(charts) => write_charts(html, "charts", charts),
            Self::SmallCharts(charts) => write_charts(html, "charts small", charts),
            Self::Legend(names) => {
                html.push_str("<ul class=\"legend\">\n");
                for (name, style, text) in names {
                    let (name, text, class) = (escape(name), escape(text), stroke(*style));
                    push(
                        html,
                        format_args!(
                            "<li><svg viewBox=\"0 0 28 10\"><line class=\"line {class}\" x1=\"0\" x2=\"28\" \
                             y1=\"5\" y2=\"5\"/></svg><b>{name}</b> {text}</li>\n"
                        ),
                    );
                }
                html.push_str("</ul>\n");
            }
            Self::Strips(strips) => strips.iter().for_each(|strip| strip.write(html)),
            Self::Folded(name, blocks) => {
                push(
                    html,
                    format_args!("<details><summary>{}</summary>\n", escape(name)),
                );
                blocks.iter().for_each(|block| block.write(html));
                html.push_str("</details>\n");
            }
        }
    }
}

fn write_charts(html: &mut String, class: &str, charts: &[Lines]) {
    push(html, format_args!("<div class=\"{class}\">\n"));
    for chart in charts {
        let (title, svg) = (escape(&chart.title), chart.svg());
        push(
            html,
            format_args!("<figure><figcaption>{title}</figcaption>\n{svg}</figure>\n"),
        );
    }
    html.push_str("</div>\n");
}

impl Grid {
    fn write(&self, html: &mut String) {
        html.push_str("<div class=\"wide\"><table>\n<thead><tr>");
        for head in &self.head {
            push(
                html,
                format_args!("<th scope=\"col\">{}</th>", escape(head)),
            );
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for line in &self.lines {
            html.push_str("<tr>");
            for (column, cell) in line.iter().enumerate() {
                let text = escape(&cell.text);
                let text = if cell.strong {
                    format!("<b>{text}</b>")
                } else {
                    text
                };
                match (column, cell.shade > 0.0) {
                    (0, _) => push(html, format_args!("<th scope=\"row\">{text}</th>")),
                    (_, false) => push(html, format_args!("<td>{text}</td>")),
                    (_, true) => {
                        let shade = 55.0 * cell.shade.min(1.0);
                        push(
                            html,
                            format_args!(
                                "<td class=\"shaded\" style=\"--shade:{shade:.0}%\">{text}</td>"
                            ),
                        );
                    }
                }
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
    }
}

impl Strip {
    fn write(&self, html: &mut String) {
        push(
            html,
            format_args!("<h3>{}</h3>\n<div class=\"strip\">\n", escape(&self.name)),
        );
        for (caption, bytes) in &self.images {
            let picture = match bytes {
                Some(bytes) => image(bytes, caption),
                None => "<span class=\"missing\">no image</span>".into(),
            };
            let caption = escape(caption);
            push(
                html,
                format_args!("<figure>{picture}<figcaption>{caption}</figcaption></figure>\n"),
            );
        }
        html.push_str("</div>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_on_the_page_and_escaped() {
        let cell = |text: &str| Cell::from(text.to_owned());
        let document = Document {
            title: "a < b".into(),
            blocks: vec![
                Block::Heading("head & foot".into()),
                Block::Grid(Grid {
                    head: vec!["name".into(), "number".into()],
                    lines: vec![vec![
                        cell("<i>"),
                        Cell {
                            shade: 0.5,
                            strong: true,
                            ..cell("7")
                        },
                    ]],
                }),
                Block::Charts(vec![Lines::default()]),
                Block::Legend(vec![("line".into(), 11, "50 %".into())]),
                Block::Strips(vec![Strip {
                    name: "cats".into(),
                    images: vec![
                        ("1.".into(), Some(b"\x89PNG".to_vec())),
                        ("2.".into(), None),
                    ],
                }]),
                Block::Folded("more".into(), vec![Block::Code("x = \"<\"".into())]),
            ],
        };
        let html = document.html();
        for piece in [
            "<h1>a &lt; b</h1>",
            "head &amp; foot",
            "<th scope=\"row\">&lt;i&gt;</th>",
            "style=\"--shade:28%\"><b>7</b>",
            "s1 d1",
            "data:image/png;base64,",
            "no image",
            "<details><summary>more</summary>",
            "x = &quot;&lt;&quot;",
        ] {
            assert!(html.contains(piece), "{piece}");
        }
        assert!(!html.contains("<script") && !html.contains("http"));
    }
}
