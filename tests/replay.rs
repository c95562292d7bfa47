//! `dorfman replay-scores` on the paper's recorded scores gives every row of the paper's Table 1, with the
//! printed digits.
//!
//! The recordings are not part of the repository. The tests read them from the folder in
//! `DORFMAN_PAPER_DATA`, or from `shared/paper` beside the repository. Without the recordings, the
//! tests that need them print a line and pass.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Algorithm, design, M, positives found of 50, FPR in per cent, number of tests, TMAC, and cost
/// relative to individual testing in per cent.
type Row = (&'static str, &'static str, u64, u64, &'static str, u64, &'static str, &'static str);

const TABLE_1: [Row; 15] = [
    ("individual", "", 1, 50, "0.18", 48_800, "805.2", "100.00"),
    ("two-round", "D1", 2, 46, "0.08", 27_394, "452.0", "56.14"),
    ("two-round", "D1", 4, 32, "0.07", 18_864, "311.3", "38.66"),
    ("two-round", "D2", 2, 50, "0.02", 24_634, "495.8", "61.57"),
    ("two-round", "D2", 4, 50, "0.03", 12_980, "347.9", "43.20"),
    ("two-round", "D2", 8, 50, "0.04", 8_356, "293.8", "36.49"),
    ("two-round", "D2", 16, 50, "0.07", 9_338, "321.1", "39.88"),
    ("two-round", "D3", 4, 50, "0.03", 12_908, "292.9", "36.38"),
    ("two-round", "D3", 8, 50, "0.05", 9_308, "255.8", "31.76"),
    ("two-round", "D3", 16, 50, "0.08", 15_626, "371.1", "46.09"),
    ("multi-round", "D2", 8, 50, "0.01", 7_392, "273.8", "34.00"),
    ("multi-round", "D2", 16, 50, "0.02", 5_130, "246.0", "30.55"),
    ("multi-round", "D3", 8, 50, "0.01", 7_844, "225.8", "28.04"),
    ("multi-round", "D3", 16, 50, "0.02", 6_726, "212.8", "26.43"),
    ("one-round", "D3", 4, 50, "0.11", 24_400, "491.8", "61.08"),
];

/// The folder of the recordings. Without recordings, prints a line and returns `None`.
fn data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/paper");
    let data = std::env::var_os("DORFMAN_PAPER_DATA").map_or_else(beside, PathBuf::from);
    if data.join("index.csv").is_file() {
        return Some(data);
    }
    // The test harness hides the output of println! if a test passes.
    let data = data.display();
    let _ = writeln!(
        stderr(),
        "skipped: no recorded scores of the paper in {data}; set DORFMAN_PAPER_DATA to their folder"
    );
    None
}

fn replay(data: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dorfman"));
    command.arg("replay-scores").arg("--data").arg(data).args(more).output().unwrap()
}

fn out(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn rows(data: &Path, more: &[&str]) -> Vec<Value> {
    serde_json::from_str(&out(replay(data, &[more, &["--json"]].concat()))).unwrap()
}

fn percent(share: &Value) -> String {
    format!("{:.2}", 100.0 * share.as_f64().unwrap())
}

#[test]
fn table_1_equals_the_table_of_the_paper() {
    let Some(data) = data() else { return };
    let rows = rows(&data, &["--table1"]);
    assert_eq!(rows.len(), TABLE_1.len());
    for (row, (algorithm, design, m, found, fpr, tests, tmac, relative)) in rows.iter().zip(TABLE_1)
    {
        assert_eq!(
            (&row["algorithm"], row["design"].as_str().unwrap_or("")),
            (&algorithm.into(), design),
            "{row}"
        );
        assert_eq!(
            (&row["m"], &row["tests"], &row["positives"]),
            (&m.into(), &tests.into(), &50.into()),
            "{row}"
        );
        assert_eq!(row["recall"].as_f64().unwrap(), found as f64 / 50.0, "{row}");
        assert_eq!(format!("{:.1}", row["tmac"].as_f64().unwrap()), tmac, "{row}");
        assert_eq!(
            (percent(&row["fpr"]), percent(&row["relative"])),
            (fpr.to_owned(), relative.to_owned()),
            "{row}"
        );
    }
}

#[test]
fn the_printed_table_has_the_rows_of_the_paper() {
    let Some(data) = data() else { return };
    let printed = out(replay(&data, &["--table1"]));
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> =
        printed.lines().filter(|l| l.starts_with('|')).skip(2).map(cells).collect();
    assert_eq!(lines.len(), TABLE_1.len(), "{printed}");
    for (line, (algorithm, design, m, found, fpr, tests, tmac, relative)) in
        lines.iter().zip(TABLE_1)
    {
        assert!(
            line[1].ends_with(algorithm) && line[2] == design && line[3] == m.to_string(),
            "{line:?}"
        );
        assert!(line[5].starts_with(&format!("{found}/50 (")), "{line:?}");
        assert_eq!(line[7].replace(',', ""), tests.to_string());
        let rates = [format!("{fpr} %"), tmac.to_owned(), format!("{relative} %")];
        assert_eq!([&line[6], &line[8], &line[9]], rates.each_ref());
    }
    // The 95 % interval of the recall when all 50 positives are found.
    assert!(lines[0][5].contains("92.9 to 100.0 %"), "{printed}");
}

#[test]
fn honest_accounting_changes_the_two_rows_with_two_checkpoints() {
    let Some(data) = data() else { return };
    let paper = rows(&data, &["--table1"]);
    let honest = rows(&data, &["--table1", "--accounting", "honest"]);
    for (i, (paper, honest)) in paper.iter().zip(&honest).enumerate() {
        match i {
            12 => assert_eq!(percent(&honest["relative"]), "29.49"),
            13 => assert_eq!(percent(&honest["relative"]), "32.13"),
            _ => assert_eq!(paper, honest),
        }
    }
}

#[test]
fn a_chain_within_one_checkpoint_costs_a_quarter_of_individual_testing() {
    let Some(data) = data() else { return };
    let plan =
        ["--folder", "p0.10_seed42", "--design", "d3", "--chain", "16,8,4,1", "--threshold", "0.5"];
    for accounting in ["paper", "honest"] {
        let rows = rows(&data, &[&plan[..], &["--accounting", accounting]].concat());
        let row = &rows[0];
        assert_eq!(
            (rows.len(), &row["recall"], percent(&row["relative"])),
            (1, &1.0.into(), "25.01".to_owned()),
            "{row}"
        );
        assert_eq!(
            (&row["plan"], &row["tests"]),
            (&"D3 16 > 8 > 4 > 1".into(), &5_832.into()),
            "{row}"
        );
    }
}

/// The planned policy is fitted on one half of the groups, and its tests are counted on the other
/// half. The results are in docs/retesting.md.
#[test]
fn the_planned_policy_finds_99_percent_at_a_cost_near_the_floor() {
    let Some(data) = data() else { return };
    let rows = rows(&data, &["--policy", "planned", "--worth", "500", "--margin", "1"]);
    assert_eq!(rows.len(), 8);
    let share = |row: &Value, name: &str| row[name].as_f64().unwrap();
    for (i, (folder, design, floor, limit)) in
        [("p0.10_seed42", "D3", "20.77", 0.228), ("p0.10_seed42", "D2", "27.44", 0.285)]
            .into_iter()
            .enumerate()
    {
        let chain = &rows[2 * i];
        let planned = &rows[2 * i + 1];
        assert_eq!((&planned["folder"], &planned["design"]), (&folder.into(), &design.into()));
        assert_eq!(
            (&chain["policy"], &planned["policy"]),
            (&"multi-round".into(), &"planned".into())
        );
        assert_eq!(percent(&planned["floor"]), floor);
        assert!(
            share(planned, "recall") >= 0.99 && share(planned, "relative") <= limit,
            "{planned}"
        );
        assert!(share(planned, "recall") > share(chain, "recall"), "{chain}\n{planned}");
        // The interval is that of 50 positives. More halvings do not make it narrower.
        assert!(planned["recall_interval"][0].as_f64().unwrap() < 0.93);
    }
}

/// A folder in the format of the recordings, with four items.
fn small() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("all")).unwrap();
    for (file, text) in [
        (
            "index.csv",
            "file,prevalence_percent,shuffle_seed,design,group_size,\
             gmac_per_test,gmac_reusable,merge,groups\n\
             all/individual.csv,25,7,individual,1,10,0,none,4\n\
             all/d2.csv,25,7,D2,2,12,4,max after layer2,2\n",
        ),
        ("all/items.csv", "position,item,label\n0,8,0\n1,9,0\n2,1,1\n3,7,0\n"),
        ("all/individual.csv", "score,label\n0.9,0\n0.1,0\n0.8,1\n0.2,0\n"),
        ("all/d2.csv", "score,label\n0.3,0\n0.6,1\n"),
    ] {
        std::fs::write(dir.path().join(file), text).unwrap();
    }
    dir
}

#[test]
fn any_folder_in_the_format_can_be_replayed() {
    let dir = small();
    let plan = ["--folder", "all", "--design", "D2", "--chain", "2,1"];
    let rows = rows(dir.path(), &plan);
    let row = &rows[0];
    assert_eq!(
        (&row["algorithm"], &row["recall"], &row["fpr"]),
        (&"two-round".into(), &1.0.into(), &0.0.into())
    );
    assert_eq!((&row["tests"], row["tmac"].as_f64().unwrap()), (&4.into(), 0.044));
    let printed = out(replay(dir.path(), &plan));
    assert!(printed.contains("D2 2 > 1") && printed.contains("110.00 %"), "{printed}");
}

#[test]
fn invalid_arguments_and_data_exit_64_and_name_the_problem() {
    let dir = small();
    for (arguments, expected) in [
        (&["--table1"][..], "prevalence of 0.1 % with shuffle seed 42"),
        (&[], "--table1|--folder"),
        (&["--table1", "--chain", "1"], "'--table1' cannot be used with"),
        (&["--table1", "--folder", "all"], "--folder"),
        (&["--table1", "--policy", "planned"], "cannot be used with"),
        (&["--policy", "halving"], "invalid value 'halving'"),
        (&["--folder", "all", "--chain", "1", "--worth", "5"], "--policy"),
        (
            &["--policy", "planned", "--folder", "all", "--design", "d2", "--chain", "2,1"],
            "groups of 2: none is positive",
        ),
        (&["--policy", "planned", "--margin", "nan"], "--margin is NaN"),
        (&["--folder", "all"], "--chain"),
        (&["--folder", "none", "--chain", "1"], "no folder `none`, only all"),
        (&["--folder", "all", "--chain", "2,1"], "tests of 2"),
        (
            &["--folder", "all", "--chain", "d2:4,1"],
            "no scores d2:4 (design:group size), only D2:2, individual:1",
        ),
        (&["--folder", "all", "--chain", "d2:2"], "end in 1"),
        (&["--folder", "all", "--chain", "d2:2,one"], "`one` is not a group size"),
        (&["--folder", "all", "--chain", "d2:2,1", "--threshold", "2"], "--threshold is 2"),
    ] {
        let output = replay(dir.path(), arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {message}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    std::fs::write(dir.path().join("all/d2.csv"), "score,label\n0.3,0\nhigh,1\n").unwrap();
    let output = replay(dir.path(), &["--folder", "all", "--chain", "1"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64));
    assert!(message.contains("all/d2.csv, line 3, column `score`: is `high`"), "{message}");
}
