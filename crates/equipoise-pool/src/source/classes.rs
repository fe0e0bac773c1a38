//! Which folders are classes.

use std::collections::BTreeSet;

use super::Listed;

/// Gives every image its class folder as label and returns the classes, sorted; none where the
/// source is flat.
pub(super) fn assign(listed: &mut [Listed]) -> Vec<String> {
    let enclosing = enclosing(listed);
    let folder = |path: &str| {
        let (folder, _) = path.get(enclosing..)?.split_once('/')?;
        Some(folder.to_owned())
    };
    let folders: Option<BTreeSet<String>> =
        listed.iter().map(|image| folder(&image.path)).collect();
    let classes: Vec<String> = folders.into_iter().flatten().collect();
    if classes.len() < 2 {
        // One folder tells nothing apart: `images/*.jpg` is a flat source.
        return Vec::new();
    }
    for image in listed {
        image.entry.label = folder(&image.path);
    }
    classes
}

/// Length of the folders, with their last `/`, in which every image lies.
fn enclosing(listed: &[Listed]) -> usize {
    let Some(first) = listed.first() else {
        return 0;
    };
    let mut length = first.path.rfind('/').map_or(0, |slash| slash + 1);
    for image in listed {
        let common = std::iter::zip(first.path.bytes(), image.path.bytes())
            .take(length)
            .take_while(|(a, b)| a == b)
            .count();
        length = first.path[..].as_bytes()[..common]
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
    }
    length
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::place::Place;
    use super::*;

    fn classes(paths: &[&str]) -> (Vec<String>, Vec<Option<String>>) {
        let mut listed: Vec<Listed> = paths
            .iter()
            .map(|path| {
                let place = Place::File(PathBuf::new());
                Listed::new((*path).into(), (*path).into(), String::new(), place)
            })
            .collect();
        let classes = assign(&mut listed);
        (
            classes,
            listed.into_iter().map(|image| image.entry.label).collect(),
        )
    }

    #[test]
    fn folders_are_classes_at_any_depth() {
        let (names, labels) = classes(&["b/x/1.png", "a/1.png", "b/2.png"]);
        assert_eq!(names, ["a", "b"]);
        assert_eq!(
            labels,
            [Some("b".into()), Some("a".into()), Some("b".into())]
        );
        let (names, _) = classes(&["data/train/b/1.png", "data/train/a/1.png"]);
        assert_eq!(names, ["a", "b"], "what encloses everything is no class");
        let (names, _) = classes(&["é/1.png", "è/1.png"]);
        assert_eq!(names, ["è", "é"], "cut between bytes of a letter");
    }

    #[test]
    fn flat_sources_have_no_classes() {
        for paths in [
            &["1.png", "2.png"][..],
            &["images/1.png", "images/2.png"],
            &["a/1.png", "b/1.png", "3.png"],
        ] {
            let (names, labels) = classes(paths);
            assert!(
                names.is_empty() && labels.iter().all(Option::is_none),
                "{paths:?}"
            );
        }
    }
}
