//! Hugging Face's Parquet files as sources.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::sources::{bytes, ids, open};
use crate::support::Folder;

const SCHEMA: &str = "message schema {
    optional group image { optional binary bytes; optional binary path (UTF8); }
    optional int64 label;
    required double lux;
    optional binary site (UTF8);
}";

const NAMES: &str =
    r#"{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}"#;

/// A file of row groups of three rows each; row 4 has no image, row 1 neither label nor site.
fn write(path: &Path, groups: usize, names: Option<&str>) {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let names = names.map(|names| vec![KeyValue::new("huggingface".to_owned(), names.to_owned())]);
    let properties = WriterProperties::builder()
        .set_key_value_metadata(names)
        .build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for group in 0..groups {
        let rows = 3 * group..3 * group + 3;
        let text = |text: String| ByteArray::from(text.into_bytes());
        let images: Vec<_> = rows
            .clone()
            .filter(|row| *row != 4)
            .map(|row| text(format!("image {row}")))
            .collect();
        let levels: Vec<i16> = rows
            .clone()
            .map(|row| if row == 4 { 1 } else { 2 })
            .collect();
        let said: Vec<usize> = rows.clone().filter(|row| *row != 1).collect();
        let labels: Vec<i64> = said.iter().map(|row| *row as i64 % 2).collect();
        let sites: Vec<_> = said
            .iter()
            .map(|row| text(format!("site {}", row % 3)))
            .collect();
        let lux: Vec<f64> = rows.clone().map(|row| row as f64 / 2.0).collect();
        let some: Vec<i16> = rows.map(|row| i16::from(row != 1)).collect();
        let mut group = writer.next_row_group().unwrap();
        let mut number = 0;
        while let Some(mut column) = group.next_column().unwrap() {
            match number {
                0 => column
                    .typed::<ByteArrayType>()
                    .write_batch(&images, Some(&levels), None),
                1 => column
                    .typed::<ByteArrayType>()
                    .write_batch(&[], Some(&[1, 1, 1]), None),
                2 => column
                    .typed::<Int64Type>()
                    .write_batch(&labels, Some(&some), None),
                3 => column.typed::<DoubleType>().write_batch(&lux, None, None),
                _ => column
                    .typed::<ByteArrayType>()
                    .write_batch(&sites, Some(&some), None),
            }
            .unwrap();
            column.close().unwrap();
            number += 1;
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn file(folder: &Folder, name: &str) -> PathBuf {
    folder.path(name)
}

#[test]
fn rows_are_images_with_labels_and_metadata() {
    let folder = Folder::new();
    write(&file(&folder, "train.parquet"), 3, Some(NAMES));
    let source = open(&folder, "train.parquet").unwrap();
    assert_eq!(ids(&source)[..2], ["train/00000000", "train/00000001"]);
    assert_eq!(source.classes(), ["cat", "dog"]);
    assert_eq!(source.columns(), ["lux", "site"]);
    let entries = source.entries();
    assert_eq!(entries[3].label.as_deref(), Some("dog"));
    assert_eq!(
        (entries[1].label.as_deref(), entries[5].metadata.join("|")),
        (None, "2.5|site 2".into())
    );
    let expected: Vec<Vec<u8>> = (0..9)
        .map(|row| match row {
            4 => Vec::new(),
            _ => format!("image {row}").into_bytes(),
        })
        .collect();
    for from in 0..9 {
        assert_eq!(bytes(&source, from), expected[from..]);
    }
    // Single images, in any order.
    let mut lookup = equipoise_pool::ImageLookup::new();
    for row in [8, 0, 3, 2] {
        assert_eq!(
            lookup.read(&entries[row].uri).unwrap(),
            expected[row],
            "{row}"
        );
    }
    let gone = format!("{}#9", file(&folder, "train.parquet").display());
    assert!(lookup.read(&gone).is_err());
}

#[test]
fn a_glob_of_files_is_one_source_and_unnamed_labels_are_numbers() {
    let folder = Folder::new();
    write(&file(&folder, "b.parquet"), 1, None);
    write(&file(&folder, "a.parquet"), 2, None);
    let source = open(&folder, "*.parquet").unwrap();
    assert_eq!(source.entries().len(), 9);
    assert_eq!(source.classes(), ["0", "1"]);
    assert_eq!(ids(&source)[6], "b/00000000");
    assert_eq!(
        bytes(&source, 5),
        [b"image 5", b"image 0", b"image 1", b"image 2"]
    );
}

#[test]
fn files_that_are_no_parquet_or_hold_no_image_are_refused() {
    let folder = Folder::new();
    write(&file(&folder, "whole.parquet"), 2, None);
    let whole = std::fs::read(file(&folder, "whole.parquet")).unwrap();
    folder.write("cut.parquet", &whole[..whole.len() / 2]);
    folder.write("noise.parquet", b"PAR1 nothing PAR1");
    let plain = "message schema { required int64 label; }";
    let schema = Arc::new(parse_message_type(plain).unwrap());
    let none = std::fs::File::create(file(&folder, "none.parquet")).unwrap();
    SerializedFileWriter::new(none, schema, Arc::default())
        .unwrap()
        .close()
        .unwrap();
    for (name, word) in [
        ("cut.parquet", "no whole Parquet file"),
        ("noise.parquet", "no whole Parquet file"),
        ("none.parquet", "no column of images"),
    ] {
        let error = open(&folder, name).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(word), "{error}");
    }
}
