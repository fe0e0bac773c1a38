//! Files of ids are looked up in as if they were read whole.

use std::fs;
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;

use super::duplicates::find_within;
use super::*;

/// Ids, URIs, labels and notes.
type Row = [String; 4];

const HEADER: &str = "note,id,label,uri";

/// A line of a file: its row, whether each field is quoted without need, and what ends it.
type Line = (Row, [bool; 4], &'static str);

fn rendered([id, uri, label, note]: &Row, quoted: [bool; 4], end: &str) -> String {
    let fields = std::iter::zip([note, id, label, uri], quoted).map(|(field, quoted)| {
        match quoted || field.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field.clone(),
        }
    });
    fields.collect::<Vec<_>>().join(",") + end
}

/// The ids of files of these texts.
fn open(folder: &Path, files: &[(String, usize)]) -> Ids {
    let columns = ["note".to_owned(), "absent".to_owned()];
    let file = |(number, (text, rows)): (usize, &(String, usize))| {
        let path = folder.join(format!("{number}.csv"));
        fs::write(&path, text).expect("a file");
        RowsFile::open(&path, *rows, &columns).expect("a file of ids")
    };
    let files = files.iter().enumerate().map(file).collect();
    Ids::of_files(files, columns.to_vec())
}

/// The ids of files of so many of the rows each.
fn written(folder: &Path, rows: &[Row], each: usize) -> Ids {
    let file = |rows: &[Row]| {
        let lines = rows.iter().map(|row| rendered(row, [false; 4], "\n"));
        let lines: String = lines.collect();
        (format!("{HEADER}\n{lines}"), rows.len())
    };
    let files: Vec<_> = rows.chunks(each).map(file).collect();
    open(folder, &files)
}

fn numbered(count: usize, id: impl Fn(usize) -> String) -> Vec<Row> {
    let row = |row| [id(row), format!("/{row}"), String::new(), "\"\n,".into()];
    (0..count).map(row).collect()
}

fn check(ids: &Ids, rows: &[Row]) {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    assert_eq!(ids.len(), rows.len());
    for (row, [id, uri, label, _]) in rows.iter().enumerate() {
        assert_eq!(ids.id(row), *id);
        assert_eq!(ids.uri(row).map(Cow::into_owned), said(uri));
        assert_eq!(ids.label(row).map(Cow::into_owned), said(label));
        assert_eq!(ids.row(id), rows.iter().position(|other| other[0] == *id));
        let alone = rows.iter().filter(|other| other[1] == *uri).count() == 1;
        assert_eq!(ids.row_of_uri(uri), alone.then_some(row));
    }
    let beyond = rows.len();
    assert_eq!(ids.id(beyond), beyond.to_string());
    assert_eq!((ids.uri(beyond), ids.label(beyond)), (None, None));
    assert_eq!(
        (ids.row("longer than any"), ids.row_of_uri("none")),
        (None, None)
    );
    let notes: Vec<_> = rows.iter().map(|row| said(&row[3])).collect();
    assert_eq!(ids.metadata("note"), Some(notes));
    assert_eq!(ids.metadata("absent"), Some(vec![None; rows.len()]));
    assert_eq!(ids.metadata("id"), None);
    let (labelled, labels) = ids.labels();
    let labelled: Vec<_> = labelled
        .into_iter()
        .map(|(row, label)| (row, labels[label as usize].clone()))
        .collect();
    let expected = rows.iter().enumerate();
    let expected = expected.filter_map(|(row, texts)| Some((row, said(&texts[2])?)));
    assert_eq!(labelled, expected.collect::<Vec<_>>());
    let is_number = |row: &Row| row[0].parse::<u64>().is_ok();
    assert_eq!(ids.any_is_a_number(), rows.iter().any(is_number));
    check_duplicates(ids, rows);
}

fn check_duplicates(ids: &Ids, rows: &[Row]) {
    let named = ids.named.as_ref().expect("ids of a store");
    let count = |id: &str| rows.iter().filter(|row| row[0] == id).count();
    let any = rows.iter().any(|row| count(&row[0]) > 1);
    let by_bytes = [0, 1, 16, 40, 64, 4096].map(|bytes| find_within(named, bytes));
    for found in by_bytes.into_iter().chain([ids.duplicate()]) {
        assert_eq!(found.is_some(), any, "{found:?}");
        assert!(found.is_none_or(|id| count(&id) > 1));
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a1\",\n\r \u{feff}é]{0,4}"
}

fn line() -> impl Strategy<Value = Line> {
    let ends = prop::sample::select(vec!["\n", "\r\n", "\r", "\n\n", "\r\n\r\n"]);
    (prop::array::uniform4(text()), any::<[bool; 4]>(), ends)
}

proptest! {
    #[test]
    fn lookups_are_those_of_a_plain_reading(
        files in prop::collection::vec((prop::collection::vec(line(), 0..30), any::<bool>()), 1..4),
        unique in any::<bool>(),
    ) {
        let (mut rows, mut texts) = (Vec::new(), Vec::new());
        for (lines, marked) in files {
            let mut text = format!("{}{HEADER}\n", if marked { "\u{feff}" } else { "" });
            for (mut row, quoted, end) in lines.iter().cloned() {
                if unique {
                    row[0] += &rows.len().to_string();
                }
                text += &rendered(&row, quoted, end);
                rows.push(row);
            }
            texts.push((text, lines.len()));
        }
        let folder = tempfile::tempdir().expect("a folder");
        check(&open(folder.path(), &texts), &rows);
    }
}

#[test]
fn numbers_of_rows_straddle_marks_and_files() {
    for count in [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65] {
        let rows = numbered(count, |row| format!("{:02}", (row * 37) % 97));
        for each in [1, 7, 8, 9, 64, 100] {
            let folder = tempfile::tempdir().expect("a folder");
            check(&written(folder.path(), &rows, each), &rows);
        }
    }
}

#[test]
fn a_bare_array_has_its_row_numbers() {
    let ids = Ids::numbers(3);
    assert_eq!(
        (ids.id(2).as_ref(), ids.row("2"), ids.row("3")),
        ("2", Some(2), None)
    );
    assert!(ids.are_rows() && ids.uri(0).is_none() && ids.duplicate().is_none());
    assert_eq!((ids.bytes(), ids.labels()), (0, Default::default()));
}

#[test]
fn duplicates_are_found_across_files_in_any_memory() {
    for twin in [None, Some((0, 999)), Some((500, 501)), Some((3, 700))] {
        let rows = numbered(1000, |row| match twin {
            Some((first, second)) if row == second => format!("{:03}", 999 - first),
            _ => format!("{:03}", 999 - row),
        });
        let folder = tempfile::tempdir().expect("a folder");
        let ids = written(folder.path(), &rows, 96);
        let named = ids.named.as_ref().expect("ids of a store");
        let id = twin.map(|(first, _)| format!("{:03}", 999 - first));
        for bytes in [0, 64, 500, 1000, 4000, 1 << 20] {
            assert_eq!(find_within(named, bytes), id, "{bytes} bytes");
        }
        assert_eq!(ids.duplicate(), id);
    }
}

#[test]
fn ascending_files_are_ascending_only_in_order() {
    let rows = |ids: [&str; 4]| numbered(4, |row| ids[row].to_owned());
    for (ids, ascending) in [
        (["a", "b", "c", "d"], true),
        (["a", "b", "b", "d"], false),
        (["c", "d", "a", "b"], false),
        (["a", "c", "b", "d"], false),
        (["b", "a", "c", "d"], false),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let named = written(folder.path(), &rows(ids), 2).named;
        assert_eq!(named.expect("ids").is_ascending(), ascending, "{ids:?}");
    }
}

#[test]
fn memory_is_a_byte_a_row_until_a_row_is_looked_up() {
    let bytes = |count: usize| {
        let folder = tempfile::tempdir().expect("a folder");
        let rows = numbered(count, |row| format!("{row:05}"));
        let ids = written(folder.path(), &rows, count);
        assert!(ids.clone().duplicate().is_none());
        let opened = ids.bytes();
        ids.row("00007");
        let by_id = ids.bytes();
        ids.row_of_uri("/7");
        [opened, by_id, ids.bytes()]
    };
    let (few, many) = (bytes(1000), bytes(9000));
    let a_row: Vec<f64> = std::iter::zip(few, many)
        .map(|(few, many)| (many - few) as f64 / 8000.0)
        .collect();
    assert_eq!(a_row, [1.0, 9.0, 17.0]);
}

#[test]
fn a_file_that_changes_is_read_as_what_it_became() {
    let rows = numbered(100, |row| format!("{row:02}"));
    let changes: [&[u8]; 5] = [b"\n", b"\"", b",", b"\xff", b"\"\n,x\xc3"];
    for change in changes {
        for looked_up in [false, true] {
            let folder = tempfile::tempdir().expect("a folder");
            let ids = written(folder.path(), &rows, 60);
            if looked_up {
                assert_eq!((ids.row("99"), ids.row_of_uri("/99")), (Some(99), Some(99)));
            }
            let path = folder.path().join("0.csv");
            let length = fs::metadata(&path).expect("the file").len() as usize;
            let bytes: Vec<u8> = change.iter().copied().cycle().take(length).collect();
            let file = fs::File::options().write(true).open(&path);
            file.and_then(|mut file| file.write_all(&bytes))
                .expect("written over");
            for row in 0..60 {
                let _ = (ids.uri(row), ids.label(row), ids.row(&ids.id(row)));
            }
            if change == b"\n" || change == b"\xff" {
                assert_eq!((ids.id(7), ids.uri(7)), ("7".into(), None));
            }
            assert_eq!(ids.metadata("note").map(|notes| notes.len()), Some(100));
            assert!(ids.labels().0.len() <= 100);
            let _ = (ids.any_is_a_number(), ids.duplicate(), ids.row_of_uri("/7"));
            assert_eq!((ids.id(99), ids.row("99")), ("99".into(), Some(99)));
        }
    }
}
