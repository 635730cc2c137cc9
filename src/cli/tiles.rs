//! How large pictures are cut: the options that `segment` and `eval` share.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::geometry::Tiling;

/// `--tile` and `--overlap`, checked against each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TileArgs {
    /// `None` = pictures are not cut.
    pub tiling: Option<Tiling>,
}

#[derive(Debug, clap::Args)]
struct Written {
    /// Cut larger pictures into tiles of PX x PX, look at each at its own scale and merge the answers: for many small
    /// objects, such as nuclei under a microscope. Best is the size of the network's input. Example: --tile 512 --overlap
    /// 64. A picture with no side longer than PX is not cut.
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(i64::from(Tiling::SMALLEST_PX)..=16384))]
    tile: Option<u32>,
    /// How many px neighbouring tiles share at least: a little more than most objects measure, so that each is whole in
    /// one tile.
    #[arg(long, value_name = "PX", default_value_t = 64, requires = "tile")]
    overlap: u32,
}

// By hand because of the two options together: what is wrong with them must be said as any other wrong argument.
impl FromArgMatches for TileArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<TileArgs, clap::Error> {
        let written = Written::from_arg_matches(matches)?;
        let tiling = written.tile.map(|tile| Tiling::new(tile, written.overlap)).transpose();
        let tiling = tiling.map_err(|e| clap::Error::raw(ErrorKind::ValueValidation, e))?;
        Ok(TileArgs { tiling })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = TileArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for TileArgs {
    fn augment_args(command: Command) -> Command {
        Written::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Written::augment_args_for_update(command)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        tiles: TileArgs,
    }

    fn parse(line: &str) -> Result<Option<Tiling>, String> {
        let words = std::iter::once("line").chain(line.split_whitespace());
        Line::try_parse_from(words)
            .map(|l| l.tiles.tiling)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn tiles_have_a_size_and_share_less_than_it() {
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("--tile 512 --overlap 64"), Ok(Tiling::new(512, 64).ok()));
        assert_eq!(parse("--tile 300"), parse("--tile 300 --overlap 64"));
        assert_eq!(parse("--tile 64 --overlap 0"), Ok(Tiling::new(64, 0).ok()));
        for (line, said) in [
            (
                "--tile 63",
                "error: invalid value '63' for '--tile <PX>': 63 is not in 64..=16384",
            ),
            ("--tile 99999", "99999 is not in 64..=16384"),
            (
                "--tile 512 --overlap 512",
                "error: an overlap of 512 px: expected less than the 512 px of a tile",
            ),
            (
                "--tile 64",
                "an overlap of 64 px: expected less than the 64 px of a tile",
            ),
            ("--tile 512 --overlap -1", "unexpected argument '-1'"),
            (
                "--overlap 64",
                "the following required arguments were not provided:\n  --tile <PX>",
            ),
        ] {
            let message = parse(line);
            assert!(message.as_ref().is_err_and(|m| m.contains(said)), "{line}: {message:?}");
        }
    }
}
