use super::*;

#[test]
fn the_template_names_every_field_at_its_default() {
    let parsed = Config::parse(Path::new("template.toml"), TEMPLATE).unwrap();
    assert_eq!(parsed, Config::default());
    // With what is commented out in force, too.
    let fields = |config: &Config| {
        let mut fields: Vec<String> = toml::Table::try_from(config)
            .unwrap()
            .into_iter()
            .filter_map(|(section, value)| Some((section, value.as_table()?.clone())))
            .flat_map(|(section, table)| {
                let names = table.keys().map(move |name| format!("{section}.{name}"));
                names.collect::<Vec<_>>()
            })
            .collect();
        fields.sort();
        fields
    };
    let is_field = |line: &str| {
        let name = line.split([' ', '=']).next().unwrap_or_default();
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        line.starts_with("[variants") || (plain && line.contains(" = "))
    };
    let uncommented: String = TEMPLATE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_field(rest) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let whole = Config::parse(Path::new("template.toml"), &uncommented).unwrap();
    whole.check().unwrap();
    let full = Config {
        preset: whole.preset.clone(),
        data: Data {
            pool: Some("p".into()),
            labels: Some("p".into()),
            test: Some("p".into()),
            test_labels: Some("p".into()),
            images: Some("p".into()),
            test_images: Some("p".into()),
            model: Some("p".into()),
            weights: Some("p".into()),
            preprocess: Some("p".into()),
        },
        experiment: Experiment {
            imbalance_seed: Some(0),
            ..Experiment::default()
        },
        variants: [(
            "base-balanced".to_owned(),
            Variant {
                min_distance: Some(0.5),
                clusters: Some(20),
                ..Variant::of("base")
            },
        )]
        .into(),
        ..Config::default()
    };
    assert_eq!(fields(&whole), fields(&full));
    let variant =
        |config: &Config| toml::Table::try_from(&config.variants["base-balanced"]).unwrap();
    let names = |config: &Config| variant(config).keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&whole), names(&full));
}

fn resolved(file: &str, overrides: &Overrides) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.toml");
    std::fs::write(&path, file).unwrap();
    resolve(Some(&path), overrides)
}

#[test]
fn the_file_goes_before_the_preset_and_the_command_line_before_both() {
    let overrides = Overrides {
        fields: vec![
            ("experiment.rounds".into(), "3".into()),
            ("experiment.imbalance".into(), "step".into()),
            ("experiment.strategies".into(), "[\"base\"]".into()),
        ],
        ..Overrides::default()
    };
    let file =
        "preset = 'imbalanced-cifar10'\nscale = 0.5\n[experiment]\nrounds = 12\nbudget = 501\n";
    let config = resolved(file, &overrides).unwrap();
    let experiment = &config.experiment;
    assert_eq!(
        (experiment.rounds, experiment.budget, experiment.initial),
        (3, 501, 1000)
    );
    assert_eq!((config.budget(), config.initial()), (251, 500));
    assert_eq!(experiment.imbalance, ImbalanceType::Step);
    assert_eq!(experiment.strategies, ["base"]);
    assert!(config.training.class_weights);
    // What is saved with a run is read as the same experiment.
    let again = resolved(&config.to_toml().unwrap(), &Overrides::default()).unwrap();
    assert_eq!(again, config);
}

#[test]
fn every_preset_is_an_experiment() {
    for (name, _) in PRESETS {
        let overrides = Overrides {
            preset: Some(name.into()),
            ..Overrides::default()
        };
        let config = resolve(None, &overrides).unwrap();
        assert_eq!(config.preset.as_deref(), Some(name));
    }
}

#[test]
fn wrong_fields_are_named_with_their_lines() {
    let failed = |file: &str| {
        resolved(file, &Overrides::default())
            .unwrap_err()
            .to_string()
    };
    for (file, words) in [
        ("[experiment]\nround = 3\n", &["line 2", "round"][..]),
        ("[experiment]\nrounds = 'x'\n", &["line 2"]),
        ("[experiment\n", &["line 1"]),
        ("[experiment]\nrounds = 0\n", &["experiment.rounds"]),
        (
            "[experiment]\nevaluation = 1.0\n",
            &["experiment.evaluation"],
        ),
        ("[experiment]\nstrategies = ['bse']\n", &["bse", "base"]),
        ("[experiment]\nstrategies = ['base', 'base']\n", &["twice"]),
        ("[variants.'../x']\nstrategy = 'base'\n", &["variants"]),
        ("preset = 'cifar11'\n", &["cifar11", "imagenet-linear"]),
        ("scale = -1.0\n", &["scale"]),
        ("[vaal]\nside = 24\n", &["vaal.side"]),
        (
            "[training]\nlearning-rate = -1.0\n",
            &["training.learning-rate"],
        ),
    ] {
        let message = failed(file);
        for word in words {
            assert!(message.contains(word), "{file}: {message}");
        }
    }
    let unknown = Overrides {
        fields: vec![("training.speed".into(), "3".into())],
        ..Overrides::default()
    };
    assert!(
        resolve(None, &unknown)
            .unwrap_err()
            .to_string()
            .contains("speed")
    );
}

#[test]
fn paths_are_seen_from_the_file() {
    let config = resolved(
        "[data]\npool = 'a/b.emb'\ntest = '/c.emb'\n",
        &Overrides::default(),
    );
    let config = config.unwrap();
    assert!(config.data.pool.unwrap().ends_with("a/b.emb"));
    assert_eq!(config.data.test.as_deref(), Some(Path::new("/c.emb")));
}

#[test]
fn what_differs_is_named() {
    let one = Config::default();
    let mut other = Config::default();
    other.training.epochs = 7;
    other.data.pool = Some("x".into());
    let differing = differing(&one, &other).unwrap();
    let names: Vec<&str> = differing.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["data.pool", "training.epochs"]);
}
