//! A selection as one HTML page that needs nothing beside it.

use crate::Balance;
use crate::html::{escape, image, push};

/// What the page shows. Texts are escaped where they are written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// Heading.
    pub title: String,
    /// Names and values, in order.
    pub facts: Vec<(String, String)>,
    /// Class names and how many picks the head predicts to be of each; empty without a head.
    pub predicted: Vec<(String, usize)>,
    /// The picks that are shown, by group.
    pub groups: Vec<Group>,
}

/// Picks under one heading: a class, or all of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Group {
    /// Heading.
    pub name: String,
    /// How many picks belong to it, shown or not.
    pub picks: usize,
    /// Those that are shown, in pick order.
    pub shown: Vec<Tile>,
}

/// One pick.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tile {
    /// The image's id.
    pub id: String,
    /// Rank, score and classes in words.
    pub caption: String,
    /// The encoded image; `None` where it could not be read.
    pub image: Option<Vec<u8>>,
}

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
table{border-collapse:collapse}td{padding:.15rem 1rem .15rem 0;vertical-align:top}\
td.number{text-align:right;font-variant-numeric:tabular-nums}\
.bar{background:#4472c4;height:.8rem;min-width:1px}.none{color:#b00}\
.tiles{display:flex;flex-wrap:wrap;gap:.6rem}figure{margin:0;width:7rem;font-size:.72rem;color:#555}\
figure img,figure .missing{width:7rem;height:7rem;object-fit:contain;background:#eee;display:block;\
image-rendering:auto}.id{overflow-wrap:anywhere;color:#222}\
@media (prefers-color-scheme:dark){body{background:#181818;color:#ddd}.id{color:#ddd}\
figure{color:#aaa}figure img,figure .missing{background:#333}}";

impl Page {
    /// The page.
    pub fn html(&self) -> String {
        let title = escape(&self.title);
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        );
        self.write_facts(&mut html);
        self.write_predicted(&mut html);
        for group in &self.groups {
            group.write(&mut html);
        }
        html + "</body></html>\n"
    }

    fn write_facts(&self, html: &mut String) {
        html.push_str("<table>\n");
        for (name, value) in &self.facts {
            let (name, value) = (escape(name), escape(value));
            push(
                html,
                format_args!("<tr><td>{name}</td><td>{value}</td></tr>\n"),
            );
        }
        html.push_str("</table>\n");
    }

    fn write_predicted(&self, html: &mut String) {
        if self.predicted.is_empty() {
            return;
        }
        let balance = Balance::of_counts(self.predicted.iter().map(|(_, count)| *count).collect());
        let (entropy, smallest) = (balance.entropy(), balance.smallest());
        push(
            html,
            format_args!(
                "<h2>Predicted classes</h2>\n<p>evenness {entropy:.3} (normalised entropy, 1 = even), \
                 smallest class {smallest}</p>\n<table>\n"
            ),
        );
        for (name, count) in &self.predicted {
            let width = 24.0 * *count as f64 / balance.largest().max(1) as f64;
            let (name, none) = (escape(name), if *count == 0 { " none" } else { "" });
            push(
                html,
                format_args!(
                    "<tr><td>{name}</td><td class=\"number{none}\">{count}</td>\
                     <td><div class=\"bar\" style=\"width:{width:.2}rem\"></div></td></tr>\n"
                ),
            );
        }
        html.push_str("</table>\n");
    }
}

impl Group {
    fn write(&self, html: &mut String) {
        let (name, picks, shown) = (escape(&self.name), self.picks, self.shown.len());
        let part = match shown < picks {
            true => format!("{picks} picks, the first {shown} shown"),
            false => format!("{picks} picks"),
        };
        push(
            html,
            format_args!("<h2>{name}</h2>\n<p>{part}</p>\n<div class=\"tiles\">\n"),
        );
        for tile in &self.shown {
            let (id, caption) = (escape(&tile.id), escape(&tile.caption));
            let picture = match &tile.image {
                Some(bytes) => image(bytes, &tile.id),
                None => "<div class=\"missing\">no image</div>".into(),
            };
            push(
                html,
                format_args!(
                    "<figure>{picture}<figcaption><span class=\"id\">{id}</span><br>{caption}\
                     </figcaption></figure>\n"
                ),
            );
        }
        html.push_str("</div>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_its_images_and_escapes_its_texts() {
        let page = Page {
            title: "<b> & \"c\"".into(),
            predicted: vec![("cat".into(), 3), ("dog".into(), 0)],
            groups: vec![Group {
                name: "cat".into(),
                picks: 3,
                shown: vec![
                    Tile {
                        id: "a<b.png".into(),
                        image: Some(b"\x89PNG".to_vec()),
                        ..Tile::default()
                    },
                    Tile::default(),
                ],
            }],
            ..Page::default()
        };
        let html = page.html();
        assert!(html.contains("&lt;b&gt; &amp; &quot;c&quot;"));
        assert!(html.contains("data:image/png;base64,iVBORw=="));
        assert!(html.contains("a&lt;b.png") && !html.contains("a<b.png"));
        assert!(html.contains("3 picks, the first 2 shown"));
        assert!(html.contains("no image"));
        assert!(html.contains("number none"));
    }
}
