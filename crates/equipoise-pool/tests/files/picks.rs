//! Picks.

use std::fs;

use equipoise_core::Pick;
use equipoise_pool::{Dtype, Error, Ids, PickFormat, read_rows, write_picks};
use proptest::prelude::*;

use crate::support::{Folder, open, store};

fn picks() -> Vec<Pick> {
    vec![
        Pick {
            row: 2,
            class: Some(1),
            score: Some(0.1),
            predicted: Some(0),
            runner_up: Some(1),
            class_rank: Some(1),
            beat: Some(40),
        },
        Pick {
            row: 0,
            class: Some(0),
            score: Some(f64::INFINITY),
            predicted: Some(7),
            runner_up: None,
            ..Pick::of_row(0)
        },
        Pick::of_row(1),
    ]
}

const FORMATS: [PickFormat; 3] = [PickFormat::Csv, PickFormat::Jsonl, PickFormat::LabelStudio];

#[test]
fn csv_has_the_agreed_columns() {
    let folder = Folder::new();
    let path = folder.path("picks.csv");
    let names = ["cat, tom".to_owned(), "dog".to_owned()];
    write_picks(
        &path,
        false,
        PickFormat::Csv,
        &picks(),
        &Ids::numbers(3),
        &names,
    )
    .unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "rank,row,id,class,score,predicted,runner_up,class_name,predicted_name,runner_up_name,class_rank,beat,uri,picks_version\n\
         1,2,2,1,0.1,0,1,dog,\"cat, tom\",dog,1,40,,1\n\
         2,0,0,0,inf,7,,\"cat, tom\",7,,,,,1\n\
         3,1,1,,,,,,,,,,,1\n"
    );
    let again = write_picks(&path, false, PickFormat::Csv, &[], &Ids::numbers(3), &names);
    assert!(matches!(again, Err(Error::Exists { .. })));
    write_picks(&path, true, PickFormat::Csv, &[], &Ids::numbers(3), &names).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
}

#[test]
fn every_format_reads_back_as_a_list_of_rows() {
    let folder = Folder::new().with_images(3);
    let pool = open(&store(&folder, &folder.source(), Dtype::F32, 2));
    let path = folder.path("picks");
    for ids in [pool.ids(), &Ids::numbers(5)] {
        for format in FORMATS {
            for picks in [picks(), Vec::new()] {
                write_picks(&path, true, format, &picks, ids, &[]).unwrap();
                let rows: Vec<usize> = read_rows(&path, ids)
                    .unwrap()
                    .iter()
                    .map(|(row, _)| *row)
                    .collect();
                assert_eq!(
                    rows,
                    picks.iter().map(|pick| pick.row).collect::<Vec<_>>(),
                    "{format:?}"
                );
            }
        }
    }
}

#[test]
fn json_holds_what_csv_holds() {
    let folder = Folder::new().with_images(3);
    let pool = open(&store(&folder, &folder.source(), Dtype::F32, 2));
    let (lines, tasks) = (folder.path("lines"), folder.path("tasks"));
    let names = ["a".to_owned(), "b".to_owned()];
    write_picks(
        &lines,
        false,
        PickFormat::Jsonl,
        &picks(),
        pool.ids(),
        &names,
    )
    .unwrap();
    write_picks(
        &tasks,
        false,
        PickFormat::LabelStudio,
        &picks(),
        pool.ids(),
        &names,
    )
    .unwrap();
    let text = fs::read_to_string(lines).unwrap();
    assert!(
        text.starts_with(r#"{"rank":1,"row":2,"id":"a/002.png","class":1,"score":0.1,"#),
        "{text}"
    );
    assert!(text.contains(r#""score":"inf""#));
    let tasks: serde_json::Value = serde_json::from_slice(&fs::read(tasks).unwrap()).unwrap();
    assert_eq!(tasks[0]["data"]["image"], *pool.ids().uri(2).unwrap());
    assert_eq!(tasks[0]["data"]["pool_id"], "a/002.png");
    assert_eq!(
        (&tasks[0]["meta"]["rank"], &tasks[0]["meta"]["class_name"]),
        (&1.into(), &"b".into())
    );
    assert!(tasks[2]["meta"].get("score").is_none());
}

proptest! {
    #[test]
    fn scores_read_back_bit_for_bit(bits in any::<u64>()) {
        let score = f64::from_bits(bits);
        prop_assume!(!score.is_nan());
        let folder = Folder::new();
        let pick = Pick { score: Some(score), ..Pick::of_row(0) };
        let path = folder.path("p");
        write_picks(&path, false, PickFormat::Csv, &[pick], &Ids::numbers(1), &[]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let field = text.lines().nth(1).unwrap().split(',').nth(4).unwrap();
        prop_assert_eq!(field.parse::<f64>().unwrap().to_bits(), bits);
        prop_assert!(field.len() <= 24, "{}", field);
    }
}
