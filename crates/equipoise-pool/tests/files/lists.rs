//! Lists of rows, labels, quotas.

use equipoise_pool::{
    Dtype, EmbeddingPool, Error, Ids, QuotaFile, read_column, read_costs, read_labels, read_quotas,
    read_rows,
};
use proptest::prelude::*;

use crate::support::{Folder, finish, info};

/// A pool whose ids are `names`, bare if there are none.
fn pool(folder: &Folder, names: &[&str]) -> EmbeddingPool {
    names
        .iter()
        .for_each(|name| drop(folder.write(&format!("images/{name}.png"), "")));
    let source = folder.source();
    let path = folder.path("POOL.emb");
    let writer =
        equipoise_pool::StoreWriter::open(&path, info(&source, Dtype::F32, 9), true).unwrap();
    finish(writer, &source);
    EmbeddingPool::open(&path).unwrap()
}

fn rows(folder: &Folder, text: &str, ids: &Ids) -> Result<Vec<(usize, Option<String>)>, Error> {
    read_rows(&folder.write("list", text), ids)
}

fn plain(rows: Result<Vec<(usize, Option<String>)>, Error>) -> Vec<usize> {
    rows.unwrap().into_iter().map(|(row, _)| row).collect()
}

#[test]
fn plain_lists_of_rows_and_of_ids() {
    let folder = Folder::new();
    let pool = pool(&folder, &["a", "b", "c"]);
    let ids = pool.ids();
    assert_eq!(plain(rows(&folder, "2\n\n 0 \r\n2\n", ids)), [2, 0]);
    assert_eq!(plain(rows(&folder, "\u{feff}c.png\na.png\n", ids)), [2, 0]);
    assert_eq!(plain(rows(&folder, " \n", ids)), [0; 0]);
    assert_eq!(plain(rows(&folder, "0\n4\n", &Ids::numbers(5))), [0, 4]);
    for (text, line, words) in [
        ("a.png\nx.png\n", 2, "`x.png`"),
        ("0\na.png\n", 1, "`0`"),
        ("0\n\n3\n", 3, "beyond the pool's 3 rows"),
        ("99999999999999999999999\n", 1, "99999999999999999999999"),
    ] {
        let error = rows(&folder, text, ids).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(&format!("list, line {line}: ")) && message.contains(words),
            "{message}"
        );
        assert!(!error.is_usage());
    }
}

/// Ids that are numbers come from no folder of images; a store may hold them all the same.
fn numbered(folder: &Folder) -> EmbeddingPool {
    let pool = pool(folder, &["a", "b", "c"]);
    let path = pool.path().to_owned();
    let text = "id,uri,label\n2,u/2,\n1,u/1,\n7,u/7,\n";
    std::fs::write(path.join("rows-00000.csv"), text).unwrap();
    EmbeddingPool::open(&path).unwrap()
}

#[test]
fn numbers_that_fit_rows_and_ids_need_a_header() {
    let folder = Folder::new();
    let pool = numbered(&folder);
    let ids = pool.ids();
    let error = rows(&folder, "1\n2\n", ids).unwrap_err();
    assert!(matches!(error, Error::Ambiguous { .. }) && error.is_usage());
    assert!(error.hint().unwrap().contains("`row` or `id`"));
    assert_eq!(plain(rows(&folder, "row\n1\n2\n", ids)), [1, 2]);
    assert_eq!(plain(rows(&folder, "id\n1\n2\n", ids)), [1, 0]);
    assert_eq!(
        plain(rows(&folder, "7\n1\n", ids)),
        [2, 1],
        "7 is an id alone"
    );
    assert!(
        rows(&folder, "0\n", ids).is_err(),
        "0 is a row alone, but some ids are numbers"
    );
}

#[test]
fn csv_lists_may_carry_labels() {
    let folder = Folder::new();
    let pool = pool(&folder, &["a", "b,\"c\"", "d"]);
    let ids = pool.ids();
    let read = rows(&folder, "label,row\nx,2\n,0\n", ids).unwrap();
    assert_eq!(read, [(2, Some("x".into())), (0, None)]);
    let read = rows(&folder, "id,row\n\"b,\"\"c\"\".png\",0\n", ids).unwrap();
    assert_eq!(read, [(1, None)], "id goes before row");
    let read = rows(&folder, "row,label\n0,\n0,x\n0,x\n", ids).unwrap();
    assert_eq!(read, [(0, Some("x".into()))]);
    for (text, line, words) in [
        ("row,label\n0,x\n1,y\n0,y\n", 4, "`y` here and `x` before"),
        ("row,label\n0\n", 2, "the header has 2 fields, this line 1"),
        ("row\nzero\n", 2, "`zero` is not a row number"),
        ("id\nzero\n", 2, "`zero`"),
    ] {
        let text = rows(&folder, text, ids).unwrap_err().to_string();
        assert!(
            text.contains(&format!("line {line}: ")) && text.contains(words),
            "{text}"
        );
    }
    assert!(matches!(
        rows(&folder, "name,label\na,x\n", ids),
        Err(Error::NoColumn { .. })
    ));
    assert!(
        rows(&folder, "rank,row,picks_version\n1,0,2\n", ids)
            .unwrap_err()
            .to_string()
            .contains("version 2")
    );
}

#[test]
fn label_studio_exports_are_lists_and_labels() {
    let folder = Folder::new();
    let pool = pool(&folder, &["a", "b", "c"]);
    let ids = pool.ids();
    let uri = ids.uri(1).unwrap();
    let annotated = |choices: &str, cancelled: bool| {
        format!(
            r#"[{{"was_cancelled":{cancelled},"result":[{{"type":"choices","value":{{"choices":{choices}}}}}]}}]"#
        )
    };
    let (cat, dog, skipped) = (
        annotated(r#"["cat"]"#, false),
        annotated(r#"["dog"]"#, false),
        annotated("[]", true),
    );
    let export = format!(
        r#"[{{"id":9,"data":{{"pool_id":"c.png","image":"x"}},"annotations":{cat}}},
            {{"id":8,"data":{{"image":"{uri}"}},"annotations":{dog}}},
            {{"id":7,"data":{{"image":"a.png"}},"annotations":{skipped}}}]"#
    );
    let read = rows(&folder, &export, ids).unwrap();
    assert_eq!(read, [(2, Some("cat".into())), (1, Some("dog".into()))]);
    let labels = read_labels(&folder.path("list"), ids, None).unwrap();
    assert_eq!(
        (labels.rows, labels.classes),
        (vec![(2, 0), (1, 1)], vec!["cat".into(), "dog".into()])
    );
    let minimal = r#"[{"id":3,"pool_id":"b.png","image":"x","choice":"cat"}]"#;
    assert_eq!(
        rows(&folder, minimal, ids).unwrap(),
        [(1, Some("cat".into()))]
    );
    for (text, words) in [
        ("[1,", "not a list of Label Studio tasks".to_owned()),
        (r#"[{"data":{}}]"#, "line 1: the task has neither".into()),
        (r#"[{"data":{"image":"y.png"}}]"#, "`y.png`".into()),
        (
            &format!(
                r#"[{{"data":{{"pool_id":"a.png"}},"annotations":{}}}]"#,
                annotated(r#"["a","b"]"#, false)
            ),
            "several".into(),
        ),
    ] {
        let text = rows(&folder, text, ids).unwrap_err().to_string();
        assert!(text.contains(&words), "{text}");
    }
}

#[test]
fn labels_become_classes() {
    let folder = Folder::new();
    let ids = Ids::numbers(5);
    let labels = |text: &str, classes: Option<&[String]>| {
        read_labels(&folder.write("l.csv", text), &ids, classes)
    };
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let read = labels("id,label\n3,b\n0,a\n3,b\n", None).unwrap();
    assert_eq!(
        (read.rows, read.classes),
        (vec![(3, 1), (0, 0)], names(&["a", "b"]))
    );
    let read = labels("row,label\n0,10\n1,9\n2,-1\n", None).unwrap();
    assert_eq!(
        (read.rows, read.classes),
        (vec![(0, 2), (1, 1), (2, 0)], names(&["-1", "9", "10"]))
    );
    let read = labels("row,label\n0,10\n1,x\n2,9\n", None).unwrap();
    assert_eq!(read.classes, names(&["10", "9", "x"]));
    let read = labels("row,label\n0,a\n", Some(&names(&["z", "a", "k"]))).unwrap();
    assert_eq!(
        (read.rows, read.classes),
        (vec![(0, 1)], names(&["z", "a", "k"]))
    );
    for (text, line, words) in [
        ("id,label\n9,a\n", 2, "9"),
        ("id,label\n0,a\n1,\n", 3, "no label for `1`"),
        ("id,label\n0,a\n0,z\n", 3, "`z` here and `a` before"),
        ("id,label\n0,a\n1,q\n", 3, "`q` is none of the 2 classes"),
    ] {
        let text = labels(text, Some(&names(&["z", "a"])))
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(&format!("l.csv, line {line}: ")) && text.contains(words),
            "{text}"
        );
    }
    for text in ["id\n0\n", "0\n1\n"] {
        assert!(matches!(
            labels(text, None),
            Err(Error::NoColumn { column, .. }) if column == "label"
        ));
    }
    assert!(labels("", None).unwrap().rows.is_empty());
    assert!(
        read_labels(&folder.write("bin", [0xFF, 0xFE]), &ids, None)
            .unwrap_err()
            .to_string()
            .contains("UTF-8")
    );
}

#[test]
fn quotas_go_by_name_or_number() {
    let folder = Folder::new();
    let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let quotas = |text: &str, names| read_quotas(&folder.write("q.csv", text), 3, names);
    assert_eq!(
        quotas("class,quota\nc,4\na, 1\n", Some(&names)).unwrap(),
        QuotaFile::Counts(vec![1, 0, 4])
    );
    let counts = QuotaFile::Counts(vec![0, 0, 4]);
    assert_eq!(quotas("quota,class\n4,2\n", None).unwrap(), counts);
    let weights = QuotaFile::Weights(vec![0.5, 0.0, 2.0]);
    assert_eq!(quotas("class,weight\n0,0.5\n2,2\n", None).unwrap(), weights);
    for (text, words) in [
        ("klass,quota\n0,1\n", "no column `class`"),
        ("class,quota\n0,many\n", "line 2: quota `many`"),
        ("class,quota\n0,-1\n", "line 2: quota `-1`"),
        ("class,weight\n0,-1\n", "line 2: weight `-1`"),
        ("class,weight\n0,inf\n", "line 2: weight `inf`"),
        ("class,quota\n3,1\n", "line 2: label `3`"),
        (
            "class,quota\n0,1\n0,2\n",
            "line 3: class `0` is there twice",
        ),
        ("class,quota\n0\n", "line 2"),
    ] {
        let text = quotas(text, None).unwrap_err().to_string();
        assert!(text.contains("q.csv") && text.contains(words), "{text}");
    }
}

#[test]
fn columns_are_read_by_row_and_checked() {
    let folder = Folder::new();
    let ids = Ids::numbers(4);
    let column = |text: &str, name: &str| read_column(&folder.write("m.csv", text), &ids, name);
    let found = column("row,site,cost\n2,north,1\n0,,2\n3,south,3\n", "site").unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(found, [text(""), None, text("north"), text("south")]);
    let costs = |text: &str| read_costs(&folder.write("m.csv", text), &ids);
    let found = costs("id,cost\n1,0.5\n2,0\n").unwrap();
    assert_eq!(found, [None, Some(0.5), Some(0.0), None]);
    for (text, words) in [
        ("row,site\n0,a\n", "no column `cost`"),
        ("cost\n1\n", "no column `row` or `id`"),
        ("row,cost\n0,1\n0,2\n", "`0` is there twice"),
        ("row,cost\n9,1\n", "9"),
        ("row,cost\n1,-2\n", "`1` costs `-2`"),
        ("row,cost\n1,NaN\n", "`1` costs `NaN`"),
        ("row,cost\n1,dear\n", "`1` costs `dear`"),
        ("row,cost\n1,\n", "`1` costs ``"),
    ] {
        let text = costs(text).unwrap_err().to_string();
        assert!(text.contains("m.csv") && text.contains(words), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_list_or_an_error(text in "[\\[{\\]}\"row,idlabel0-9\n :]{0,40}") {
        let folder = Folder::new();
        let ids = Ids::numbers(3);
        for (row, _) in rows(&folder, &text, &ids).unwrap_or_default() {
            prop_assert!(row < 3);
        }
        let labels = read_labels(&folder.path("list"), &ids, None).unwrap_or_default();
        prop_assert!(labels.rows.iter().all(|(row, class)| *row < 3 && (*class as usize) < labels.classes.len()));
    }
}
