//! Files that are sealed, and a file system that crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::files::Listed;
use super::*;

const KEY: [u8; 32] = [7; 32];

fn item(text: &str) -> StoredCredentials {
    StoredCredentials::from_bytes(text.as_bytes())
}

fn key(namespace: &str, digest: u8) -> StoreKey {
    StoreKey::new(namespace, [digest; 32])
}

/// A file system in memory that stops, on request, after so many steps, the writing of each byte being one. What was not
/// synced by then is lost or not, name by name and byte by byte, as chance has it.
#[derive(Default)]
struct Disk(Mutex<State>);

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    /// The names that survive a crash for sure.
    synced_names: BTreeMap<PathBuf, usize>,
    /// The names that have changed since, each with what it stood for, in order.
    changes: Vec<Vec<(PathBuf, Option<usize>)>>,
    steps_left: Option<usize>,
    now: u64,
}

#[derive(Clone, Default)]
struct Inode {
    contents: Vec<u8>,
    /// How much of the contents survives a crash for sure.
    synced: usize,
    modified: u64,
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            Some(0) => Err(io::Error::other("the machine has crashed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, changes: Vec<(PathBuf, Option<usize>)>) {
        for (path, inode) in &changes {
            apply(&mut self.names, path, *inode);
        }
        self.changes.push(changes);
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, path: &Path, inode: Option<usize>) {
    match inode {
        Some(inode) => drop(names.insert(path.to_owned(), inode)),
        None => drop(names.remove(path)),
    }
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn crash_after(&self, steps: usize) {
        self.lock().steps_left = Some(steps);
    }

    /// Starts the machine again, with what chance has left of what was not synced.
    fn restart(&self, random: &mut fastrand::Rng) {
        let mut state = self.lock();
        let state = &mut *state;
        let mut names = state.synced_names.clone();
        for changes in std::mem::take(&mut state.changes) {
            if random.bool() {
                changes.iter().for_each(|(path, inode)| apply(&mut names, path, *inode));
            }
        }
        for inode in &mut state.inodes {
            inode.contents.truncate(random.usize(inode.synced..=inode.contents.len()));
            // A block that was to be written, and was not.
            let lost = random.bool().then_some(inode.synced).filter(|synced| *synced < inode.contents.len());
            lost.into_iter().for_each(|from| inode.contents[from..].fill(0));
            inode.synced = inode.contents.len();
        }
        (state.names, state.synced_names, state.steps_left) = (names.clone(), names, None);
    }

    fn names(&self) -> BTreeSet<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }

    fn pass(&self, seconds: u64) {
        self.lock().now += seconds;
    }
}

impl Files for Arc<Disk> {
    fn make_directory(&self, _: &Path) -> io::Result<()> {
        self.lock().step()
    }

    fn write_new(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        assert!(!state.names.contains_key(path), "no file is written in the place of another");
        let (inode, modified) = (state.inodes.len(), state.now);
        state.inodes.push(Inode { modified, ..Inode::default() });
        state.change(vec![(path.to_owned(), Some(inode))]);
        for byte in contents {
            state.step()?;
            state.inodes[inode].contents.push(*byte);
        }
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        let inode = state.names[path];
        state.inodes[inode].synced = state.inodes[inode].contents.len();
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.changes.clear();
        state.synced_names = state.names.clone();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        let inode = state.names[from];
        state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        if state.names.contains_key(path) {
            state.change(vec![(path.to_owned(), None)]);
        }
        Ok(())
    }

    fn read(&self, path: &Path, longest: usize) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.lock();
        state.step()?;
        let contents = state.names.get(path).map(|inode| state.inodes[*inode].contents.clone());
        Ok(contents.filter(|contents| contents.len() <= longest))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        let mut state = self.lock();
        state.step()?;
        let files = state.names.iter().filter(|(path, _)| path.parent() == Some(directory));
        let modified = |inode: usize| UNIX_EPOCH + Duration::from_secs(state.inodes[inode].modified);
        Ok(files.map(|(path, inode)| Listed { path: path.clone(), modified: modified(*inode) }).collect())
    }
}

fn store_on(disk: &Arc<Disk>) -> FileStore {
    FileStore::open_with("/store".into(), &SealingKey::from_bytes(KEY), Box::new(Arc::clone(disk))).unwrap()
}

#[test]
fn after_a_crash_at_any_byte_there_is_the_old_file_or_the_new_one() {
    let (mut olds, mut news, mut left_behind) = (0, 0, 0);
    for seed in 0..1_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Arc::new(Disk::default());
        let (old, new) = (item("the old credentials"), item(&"the new credentials ".repeat(random.usize(1..8))));
        store_on(&disk).save(&key("app", 1), &old).unwrap();
        store_on(&disk).save(&key("app", 2), &item("others")).unwrap();

        // Half of them where the steps are that matter, after the writing.
        let length = new.as_bytes().len();
        disk.crash_after(if random.bool() { random.usize(..length + 60) } else { length + random.usize(48..60) });
        let store = FileStore::open_with("/store".into(), &SealingKey::from_bytes(KEY), Box::new(Arc::clone(&disk)));
        let saved = store.map_err(BoxError::from).and_then(|store| store.save(&key("app", 1), &new));
        disk.restart(&mut random);

        let store = store_on(&disk);
        let found = store.load(&key("app", 1)).unwrap().unwrap();
        assert!(found == new || (found == old && saved.is_err()), "seed {seed}: {found:?}, saved {saved:?}");
        if found == new {
            news += 1
        } else {
            olds += 1
        }
        assert_eq!(store.load(&key("app", 2)).unwrap(), Some(item("others")), "seed {seed}");

        // It goes on, and keeps house.
        left_behind += usize::from(disk.names().iter().any(|path| is_half_written(path)));
        disk.pass(LEFT_BEHIND.as_secs());
        store.save(&key("app", 1), &item("newer")).unwrap();
        assert_eq!(store.load(&key("app", 1)).unwrap(), Some(item("newer")), "seed {seed}");
        assert_eq!(disk.names().len(), 2, "seed {seed}: nothing is left behind");
    }
    assert!(olds > 100 && news > 100 && left_behind > 100, "{olds} {news} {left_behind}");
}

#[test]
fn what_was_removed_before_a_crash_does_not_come_back() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = Arc::new(Disk::default());
        let store = store_on(&disk);
        store.save(&key("app", 1), &item("refused")).unwrap();
        store.save(&key("app", 2), &item("others")).unwrap();
        disk.crash_after(random.usize(..6));
        let removed = if seed % 2 == 0 { store.remove(&key("app", 1)) } else { store.clear("app") };
        disk.restart(&mut random);
        let found = store.load(&key("app", 1)).unwrap();
        assert!(found.is_none() || (removed.is_err() && found == Some(item("refused"))), "seed {seed}");
    }
}

#[test]
fn half_written_files_of_others_who_may_still_write_are_left_alone() {
    let disk = Arc::new(Disk::default());
    let store = store_on(&disk);
    let others = store.path(&key("app", 1)).with_extension("0123.tmp");
    Files::write_new(&disk, &others, b"half").unwrap();
    disk.pass(59);
    store.save(&key("app", 1), &item("a")).unwrap();
    assert!(disk.names().contains(&others));
    disk.pass(1);
    store.save(&key("app", 1), &item("b")).unwrap();
    assert!(!disk.names().contains(&others));
}

#[test]
fn a_namespace_has_so_many_files_and_the_oldest_go() {
    let disk = Arc::new(Disk::default());
    let store = store_on(&disk);
    let numbered = |number: usize| StoreKey::new("app", std::array::from_fn(|at| (number >> (8 * (at % 2))) as u8));
    Files::write_new(&disk, &store.folder("app").join("README"), b"not ours").unwrap();
    for number in 0..MOST_FILES + 2 {
        store.save(&numbered(number), &item("x")).unwrap();
        disk.pass(1);
    }
    assert_eq!(disk.names().len(), MOST_FILES + 1);
    let is_there = |number| store.load(&numbered(number)).unwrap().is_some();
    assert!(!is_there(0) && !is_there(1) && is_there(2) && is_there(MOST_FILES + 1));
    store.clear("app").unwrap();
    assert_eq!(disk.names().len(), 1, "what is not ours stays");
}

#[test]
fn another_key_another_namespace_and_another_place_give_nothing() {
    let disk = Arc::new(Disk::default());
    let store = store_on(&disk);
    store.save(&key("app", 1), &item("a")).unwrap();
    let other = FileStore::open_with("/store".into(), &SealingKey::from_bytes([8; 32]), Box::new(Arc::clone(&disk)));
    let other = other.unwrap();
    assert_eq!(other.load(&key("app", 1)).unwrap(), None);
    assert_eq!(store.load(&key("ape", 1)).unwrap(), None);

    // The same bytes where they don't belong.
    let bytes = disk.read(&store.path(&key("app", 1)), LONGEST).unwrap().unwrap();
    for (store, key) in [(&store, key("app", 2)), (&store, key("ape", 1)), (&other, key("app", 1))] {
        Files::write_new(&disk, &store.path(&key), &bytes).unwrap();
        assert_eq!(store.load(&key).unwrap(), None);
    }
}

#[test]
fn a_file_that_was_changed_at_any_byte_or_cut_off_is_nothing() {
    let disk = Arc::new(Disk::default());
    let store = store_on(&disk);
    let whole = store.seal(&key("app", 1), &item("credentials")).unwrap();
    assert_eq!(store.unseal(&key("app", 1), &whole), Some(item("credentials")));
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert_eq!(store.unseal(&key("app", 1), &changed), None, "{at}");
        assert_eq!(store.unseal(&key("app", 1), &whole[..at]), None, "{at}");
    }
}

#[test]
fn neither_names_nor_files_nor_debug_show_what_is_kept() {
    let disk = Arc::new(Disk::default());
    let store = store_on(&disk);
    let (first, second) = (store.seal(&key("app", 1), &item("secret")), store.seal(&key("app", 1), &item("secret")));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first, second, "a nonce is used once");
    assert!(!first.windows(6).any(|window| window == b"secret"));
    let path = store.path(&key("app", 1)).to_str().unwrap().to_owned();
    assert!(!path.contains(&hex(&[1; 32])) && !path.contains("app"), "{path}");
    let shown = format!("{store:?} {:?}", SealingKey::from_bytes(KEY));
    assert!(!shown.contains('7') && shown.contains("[redacted]"), "{shown}");
}

#[test]
fn what_is_too_long_is_not_saved() {
    let store = store_on(&Arc::new(Disk::default()));
    assert!(store.save(&key("app", 1), &item(&"x".repeat(LONGEST))).is_err());
    assert_eq!(store.load(&key("app", 1)).unwrap(), None);
}

#[test]
fn generated_keys_differ() {
    assert_ne!(SealingKey::generate().unwrap().as_bytes(), SealingKey::generate().unwrap().as_bytes());
}

/// A directory of this machine's that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("roomkey-{name}-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn on_a_real_disk_files_are_for_this_user_alone_and_are_replaced_whole() {
    let scratch = Scratch::new("files");
    let store = FileStore::open(&scratch.0, &SealingKey::from_bytes(KEY)).unwrap();
    assert_eq!(store.load(&key("app", 1)).unwrap(), None);
    store.remove(&key("app", 1)).unwrap();
    store.clear("app").unwrap();
    store.save(&key("app", 1), &item("a")).unwrap();
    store.save(&key("app", 1), &item("b")).unwrap();
    assert_eq!(store.load(&key("app", 1)).unwrap(), Some(item("b")));
    let again = FileStore::open(&scratch.0, &SealingKey::from_bytes(KEY)).unwrap();
    assert_eq!(again.load(&key("app", 1)).unwrap(), Some(item("b")));

    let files: Vec<_> = SystemFiles.list(&store.folder("app")).unwrap();
    assert_eq!(files.len(), 1);
    assert!(files[0].modified > SystemTime::UNIX_EPOCH);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&scratch.0), mode(&store.folder("app")), mode(&files[0].path)), (0o700, 0o700, 0o600));
    }
    store.remove(&key("app", 1)).unwrap();
    assert_eq!(store.load(&key("app", 1)).unwrap(), None);
}

#[test]
fn of_many_who_save_at_once_the_last_wins_and_nobody_reads_half_of_it() {
    let scratch = Scratch::new("many");
    let texts: Vec<String> = (0..8).map(|number| number.to_string().repeat(5_000)).collect();
    let store = || FileStore::open(&scratch.0, &SealingKey::from_bytes(KEY)).unwrap();
    store().save(&key("app", 1), &item(&texts[0])).unwrap();
    std::thread::scope(|scope| {
        for text in &texts {
            let (writer, reader) = (store(), store());
            scope.spawn(move || (0..10).for_each(|_| writer.save(&key("app", 1), &item(text)).unwrap()));
            let texts = &texts;
            scope.spawn(move || {
                for _ in 0..50 {
                    let found = reader.load(&key("app", 1)).unwrap().unwrap();
                    assert!(texts.iter().any(|text| found == item(text)));
                }
            });
        }
    });
    assert_eq!(SystemFiles.list(&store().folder("app")).unwrap().len(), 1);
}
