//! `maskcast calibrate`: the scale table of an int8 engine from pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{folder, progress};
use crate::engine::quantize::{Data, Method, ScaleTable};
use crate::instances::Limits;
use crate::model::{MaskRcnn, Options};
use crate::pipeline::{MaskBranch, MaskRcnnSegmenter};
use crate::source::{Orientation, read_still};
use crate::time::SystemClocks;

/// Make the scale table that an engine needs for int8, from pictures such as it will see
///
/// The engine runs in f32 over the pictures, and the range of every tensor that an 8-bit layer
/// reads is noted. The recipe must name the table under executor.scale_table. Layers under
/// [keep_float] in a table that is replaced stay there.
///
/// Examples:
///   maskcast calibrate --engine engines/conveyor.toml --images frames/
///   maskcast calibrate --engine my.toml --images frames/ --method entropy --out my.int8.toml
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Recipe of the engine
    #[arg(long, value_name = "TOML")]
    engine: PathBuf,
    /// Folder of PNG, JPEG and BMP pictures
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Pictures to show at most, spread evenly over the folder
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    frames: u32,
    /// Where ranges are cut off: "max", "entropy" or "percentile P"
    #[arg(long, default_value = "percentile 99.999")]
    method: Method,
    /// The table; NAME.int8.toml beside the recipe unless given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What the pictures are, for the people who read the table; the folder's name unless given
    #[arg(long, value_name = "TEXT")]
    data: Option<String>,
    /// The seed that the pictures were made from, for the table
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Threads of the network; one a processor, at most eight, unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let files = folder::evenly(&folder::pictures(&args.images)?, args.frames as usize);
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| args.engine.with_extension("int8.toml"));
    let keep_float = kept(&out)?;
    let options = Options {
        threads: args.threads.map(usize::from),
        ..Options::default()
    };
    let network = MaskRcnn::load_to_calibrate(&args.engine, args.method, &options)?;
    let everything = Limits {
        score_threshold: 0.0,
        max_instances: usize::MAX,
    };
    let mut segmenter = MaskRcnnSegmenter::new(network, everything);

    let bar = progress::bar(files.len(), "pictures");
    let (mut shown, mut instances) = (0u32, 0usize);
    for file in &files {
        bar.inc(1);
        match read_still(file, Orientation::AsStored) {
            Ok(picture) => {
                let found = segmenter.find(&picture, MaskBranch::Run, &SystemClocks);
                instances += found.with_context(|| file.display().to_string())?.instances.len();
                shown += 1;
            }
            Err(why) => bar.suspend(|| say!("{}: {why}", file.display())),
        }
    }
    bar.finish_and_clear();
    let unreadable = files.len() - shown as usize;
    if shown == 0 {
        bail!(
            "{}: none of {} pictures can be read",
            args.images.display(),
            files.len()
        );
    }
    let data = Data {
        source: args.data.unwrap_or_else(|| name_of(&args.images)),
        frames: shown,
        seed: args.seed,
    };
    let table = segmenter.into_network().into_scale_table(data, keep_float)?;
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    table
        .write(&out)
        .with_context(|| format!("writing {}", out.display()))?;
    if unreadable > 0 {
        say!(
            "{unreadable} of {} pictures could not be read and were left out",
            files.len()
        );
    }
    super::answer(format_args!(
        "wrote {}: {} ranges by {} from {shown} pictures with {instances} instances; name it in {} as \
         executor.scale_table",
        out.display(),
        table.activations.len(),
        table.method,
        args.engine.display()
    ))
}

/// What the table that is about to be replaced keeps in float.
fn kept(table: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    match table.exists() {
        true => Ok(ScaleTable::read(table)?.keep_float),
        false => Ok(BTreeMap::new()),
    }
}

/// The last part of a path: a table is committed, and where a folder lay on one machine helps nobody.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    whole
        .file_name()
        .map_or_else(|| "pictures".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::model::golden;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, String> {
        let line = std::iter::once("calibrate").chain(words.iter().copied());
        Line::try_parse_from(line).map(|l| l.args).map_err(|e| e.to_string())
    }

    #[test]
    fn the_line_is_read() {
        let args = parse(&["--engine", "e.toml", "--images", "d"]).unwrap();
        assert_eq!((args.frames, args.seed, args.out), (200, 0, None));
        assert_eq!(args.method, Method::Percentile(99.999));
        let args = parse(&["--engine", "e", "--images", "d", "--method", "entropy", "--frames", "7"]).unwrap();
        assert_eq!((args.frames, args.method), (7, Method::Entropy));
        for wrong in [
            &["--engine", "e"][..],
            &["--images", "d"],
            &["--engine", "e", "--images", "d", "--frames", "0"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        let error = parse(&["--engine", "e", "--images", "d", "--method", "percentile 3"]).unwrap_err();
        assert!(error.contains("\"percentile 3\" is no calibration method"), "{error}");
    }

    /// Two pictures and a damaged one beside the golden engine.
    fn folder_with_pictures(dir: &Path) -> (String, String) {
        let engine = golden::write_engine(dir);
        let images = dir.join("frames");
        std::fs::create_dir(&images).unwrap();
        let picture = golden::picture();
        let rgb = image::RgbImage::from_raw(picture.size.width, picture.size.height, picture.bytes().to_vec());
        let rgb = rgb.unwrap();
        rgb.save(images.join("1.png")).unwrap();
        image::imageops::flip_horizontal(&rgb)
            .save(images.join("2.bmp"))
            .unwrap();
        std::fs::write(images.join("3.jpg"), b"no picture").unwrap();
        (engine.display().to_string(), images.display().to_string())
    }

    #[test]
    fn a_table_is_written_beside_the_recipe_and_replaced_with_what_it_keeps() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, images) = folder_with_pictures(dir.path());
        run(parse(&["--engine", &engine, "--images", &images, "--seed", "9"]).unwrap()).unwrap();
        let file = dir.path().join("golden.int8.toml");
        let mut table = ScaleTable::read(&file).unwrap();
        let expected = Data {
            source: "frames".into(),
            frames: 2,
            seed: 9,
        };
        assert_eq!(table.data, expected);
        assert!(table.keep_float.is_empty() && table.activations.contains_key("mask_head/rois"));

        table
            .keep_float
            .insert("trunk/rpn.head.cls_logits".into(), "small".into());
        table.write(&file).unwrap();
        let again = parse(&[
            "--engine", &engine, "--images", &images, "--method", "max", "--frames", "1",
        ])
        .unwrap();
        run(again).unwrap();
        let replaced = ScaleTable::read(&file).unwrap();
        assert_eq!(replaced.keep_float, table.keep_float);
        assert_eq!((replaced.method, replaced.data.frames), (Method::Max, 1));
        assert!(!dir.path().join(".golden.int8.toml.part").exists());
    }

    #[test]
    fn nothing_to_see_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, images) = folder_with_pictures(dir.path());
        let message = |images: &str| {
            let args = parse(&["--engine", &engine, "--images", images]).unwrap();
            format!("{:#}", run(args).unwrap_err())
        };
        let empty = dir.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let text = message(&empty.display().to_string());
        assert!(text.ends_with("empty: no PNG, JPEG or BMP file in it"), "{text}");
        for name in ["1.png", "2.bmp"] {
            std::fs::remove_file(Path::new(&images).join(name)).unwrap();
        }
        let text = message(&images);
        assert!(text.ends_with("frames: none of 1 pictures can be read"), "{text}");
        assert!(!dir.path().join("golden.int8.toml").exists());
    }
}
