//! Recordings on disk: `index.csv`, and one folder per order of the items. This is the only part of
//! `replay` that reads files.
//!
//! `index.csv` has one line per file of scores ([`Entry`]). In each folder, `items.csv` lists the
//! items by position (`position,item,label`). A file of scores has one row per group
//! (`score,label`): row `g` is the group of the items from position `g * M` on, where M is the
//! group size.

use std::path::{Path, PathBuf};

use super::csv_file::{self, Line};
use super::{Entry, RecordedGroup, RecordedItem, Recording, ReplayError, Scores};

/// A folder of recordings.
#[derive(Debug, Clone)]
pub struct Archive {
    root: PathBuf,
    index: Vec<Entry>,
}

/// The columns of `index.csv` that are read.
const COLUMNS: [&str; 9] = [
    "file",
    "prevalence_percent",
    "shuffle_seed",
    "design",
    "group_size",
    "gmac_per_test",
    "gmac_reusable",
    "merge",
    "groups",
];

impl Archive {
    /// Reads the index of a folder of recordings.
    ///
    /// # Errors
    /// [`ReplayError`] with the file, line and column of the first error.
    pub fn open(root: &Path) -> Result<Self, ReplayError> {
        let index = csv_file::read(&root.join("index.csv"), COLUMNS, entry)?;
        Ok(Self { root: root.to_owned(), index })
    }

    /// Every file of scores.
    pub fn index(&self) -> &[Entry] {
        &self.index
    }

    /// The folders, in the order of the index.
    pub fn folders(&self) -> Vec<&str> {
        let mut folders = Vec::new();
        for entry in &self.index {
            if !folders.contains(&entry.folder()) {
                folders.push(entry.folder());
            }
        }
        folders
    }

    /// The folder with a prevalence, in per cent, and an order of the items.
    ///
    /// # Errors
    /// [`ReplayError::NotRecorded`] if the index has no such folder.
    pub fn folder_of(&self, prevalence_percent: f64, seed: u64) -> Result<&str, ReplayError> {
        let matches = |e: &&Entry| {
            (e.prevalence_percent - prevalence_percent).abs() < 1e-9 && e.shuffle_seed == seed
        };
        match self.index.iter().find(matches) {
            Some(entry) => Ok(entry.folder()),
            None => Err(ReplayError::NotRecorded(format!(
                "{} lists no scores at a prevalence of {prevalence_percent} % with shuffle \
                 seed {seed}",
                self.root.join("index.csv").display()
            ))),
        }
    }

    /// Reads the items and all scores of a folder.
    ///
    /// # Errors
    /// [`ReplayError::NotRecorded`] if the index has no such folder; otherwise the first error in
    /// its files.
    pub fn recording(&self, folder: &str) -> Result<Recording, ReplayError> {
        let entries: Vec<&Entry> = self.index.iter().filter(|e| e.folder() == folder).collect();
        if entries.is_empty() {
            let (root, known) = (self.root.display(), self.folders().join(", "));
            let what = format!("{root} has no folder `{folder}`, only {known}");
            return Err(ReplayError::NotRecorded(what));
        }
        let items = self.items(folder)?;
        let scores = entries.into_iter().map(|e| self.scores(e)).collect::<Result<_, _>>()?;
        Recording::new(folder, items, scores)
    }

    fn items(&self, folder: &str) -> Result<Vec<RecordedItem>, ReplayError> {
        let file = self.root.join(folder).join("items.csv");
        let mut next = 0_usize;
        csv_file::read(&file, ["position", "item", "label"], |line| {
            let position: usize = line.value(0, "a whole number")?;
            if position != next {
                let expected = format!("{next}: items are listed in the order of their positions");
                return Err(line.wrong(0, &expected));
            }
            next += 1;
            Ok(RecordedItem { id: line.value(1, "a whole number")?, positive: line.label(2)? })
        })
    }

    fn scores(&self, entry: &Entry) -> Result<Scores, ReplayError> {
        let file = self.root.join(&entry.file);
        let groups = csv_file::read(&file, ["score", "label"], |line| {
            let score: f32 = line.value(0, "a score, 0 to 1")?;
            if !(0.0..=1.0).contains(&score) {
                return Err(line.wrong(0, "a score, 0 to 1"));
            }
            Ok(RecordedGroup { score, positive: line.label(1)? })
        })?;
        if groups.len() != entry.groups {
            let what = format!("has {} groups, index.csv says {}", groups.len(), entry.groups);
            return Err(ReplayError::File { file, what });
        }
        let cost = entry.cost(&self.index);
        Ok(Scores { design: entry.design.clone(), size: entry.size, cost, groups })
    }
}

/// A line of `index.csv`.
fn entry(line: &Line<9>) -> Result<Entry, ReplayError> {
    let entry = Entry {
        file: line.text(0).to_owned(),
        prevalence_percent: line.number(1, "a number of per cent")?,
        shuffle_seed: line.value(2, "a whole number")?,
        design: line.text(3).to_owned(),
        size: line.value(4, "a whole number")?,
        gmac_per_test: line.number(5, "a number of GMAC")?,
        gmac_reusable: match line.text(6) {
            "" => None,
            _ => Some(line.number(6, "a number of GMAC, or empty")?),
        },
        merge: line.text(7).to_owned(),
        groups: line.value(8, "a whole number")?,
    };
    if entry.gmac_reusable.is_some_and(|gmac| gmac > entry.gmac_per_test) {
        return Err(line.wrong(6, "at most gmac_per_test"));
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const INDEX: &str = "\
file,prevalence_percent,shuffle_seed,design,group_size,gmac_per_test,gmac_reusable,merge,groups,source
a/individual.csv,50,1,individual,1,16.5,0,none,3,x
a/d2_m2.csv,50,1,D2,2,20,7,\"first, max after layer2\",2,x
";

    fn archive(change: impl Fn(&str, &str) -> String) -> Result<Recording, ReplayError> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        for (file, text) in [
            ("index.csv", INDEX),
            ("a/items.csv", "position,item,label\n0,70,0\n1,3,1\n2,71,0\n"),
            ("a/individual.csv", "score,label\n0.1,0\n0.9,1\n3e-8,0\n"),
            ("a/d2_m2.csv", "score,label\n0.8,1\n0.2,0\n"),
        ] {
            fs::write(dir.path().join(file), change(file, text)).unwrap();
        }
        Archive::open(dir.path())?.recording("a")
    }

    #[test]
    fn a_folder_is_read_with_its_costs() {
        let recording = archive(|_, text| text.to_owned()).unwrap();
        assert_eq!(recording.items()[1], RecordedItem { id: 3, positive: true });
        let d2 = recording.scores("D2", 2).unwrap();
        assert_eq!((d2.cost.full, d2.cost.retest, d2.groups[0].score), (20.0, 13.0, 0.8));
        assert_eq!(recording.individual_gmac().unwrap(), 49.5);
    }

    #[test]
    fn errors_name_the_file_the_line_and_the_column() {
        for (file, from, to, part) in [
            (
                "index.csv",
                "D2,2,",
                "D2,two,",
                "line 3, column `group_size`: is `two`, must be a whole number",
            ),
            ("index.csv", "gmac_reusable", "reusable", "line 1 has no column `gmac_reusable`"),
            (
                "index.csv",
                "20,7,",
                "20,21,",
                "line 3, column `gmac_reusable`: is `21`, must be at most gmac_per_test",
            ),
            ("index.csv", "50,1,individual", "50,individual", "record 1"),
            ("index.csv", "a/", "b/", "has no folder `a`, only b"),
            (
                "a/items.csv",
                "2,71",
                "3,71",
                "items.csv, line 4, column `position`: is `3`, must be 2",
            ),
            (
                "a/items.csv",
                "3,1",
                "3,yes",
                "items.csv, line 3, column `label`: is `yes`, must be 0 or 1",
            ),
            ("a/items.csv", "2,71,0\n", "", "there are 3"),
            (
                "a/d2_m2.csv",
                "0.2",
                "NaN",
                "d2_m2.csv, line 3, column `score`: is `NaN`, must be a score, 0 to 1",
            ),
            ("a/d2_m2.csv", "0.2", "1.2", "line 3, column `score`"),
            ("a/d2_m2.csv", "0.2,0\n", "", "d2_m2.csv: has 1 groups, index.csv says 2"),
            (
                "a/d2_m2.csv",
                "0.8,1\n0.2,0",
                "0.8,0\n0.2,1",
                "a: D2 in groups of 2: the label of group 0",
            ),
        ] {
            let error =
                archive(|f, text| if f == file { text.replace(from, to) } else { text.to_owned() });
            let message = error.unwrap_err().to_string();
            assert!(message.contains(part), "{message}\nlacks: {part}");
        }
    }

    #[test]
    fn folders_are_found_by_prevalence_and_seed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("index.csv"), INDEX).unwrap();
        let archive = Archive::open(dir.path()).unwrap();
        assert_eq!((archive.folder_of(50.0, 1).unwrap(), archive.folders()), ("a", vec!["a"]));
        assert!(archive.folder_of(50.0, 2).unwrap_err().to_string().contains("seed 2"));
        let message = archive.recording("a").unwrap_err().to_string();
        assert!(message.contains("a/items.csv"), "{message}");
        assert!(
            Archive::open(&dir.path().join("none"))
                .unwrap_err()
                .to_string()
                .contains("none/index.csv")
        );
    }
}
