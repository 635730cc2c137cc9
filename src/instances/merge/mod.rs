//! The answers about the tiles of a picture -> the answer about the picture, without seams. Source px of the picture.
//!
//! A *piece* is one instance of one tile. Only pieces of one class and of different tiles are held against each other:
//! what a tile tells apart stays apart. Areas are set pixels; a piece without any counts as the pixels of its box. A piece
//! is *cut* when its mask or box comes to 1 px and a sixteenth of its extent of a border of its tile that is not the
//! picture's: networks end a truncated mask a little before the border. In this order:
//!
//! 1. A cut piece of which at least half lies in an uncut one is a part of that one: dropped. So is a sliver, half as deep
//!    as it is long at most, so less than half of anything round, where another tile shows its place and more around it:
//!    that tile has found the object, or there is none. (A tile that begins in the glow of an object makes slivers.)
//! 2. Two pieces, one of them cut at least, are one object when they agree in what both tiles show: IoU of their pixels
//!    there at least 0.5. The tiles must stand in one row or column (the part that diagonal ones share is too small to go
//!    by; such pieces meet through the tiles between). Surest pairs first, by the lower of their scores; an object takes
//!    one piece of a tile at most. Its mask and box are the unions of the pieces', its score is that of the largest: the
//!    network judged it on the most of the object.
//! 3. Of objects that are whole (uncut, or put together) and overlap with an IoU of at least 0.5 the highest score stays.
//! 4. A cut piece that was left alone, and lies for at least half in a whole object or in a larger such piece, is dropped.
//!
//! In 1 (but for slivers), 2 and 4 a score must be at least a quarter of the one it decides about, so that the faint detections that are
//! kept for precision curves neither swallow nor swell what is certain.
//!
//! Not seen as one: an object of which a tile shows two parts that do not touch there.

use std::ops::Range;

use super::decode::by_rank;
use super::{Instance, InstanceMask, MaskRuns};
use crate::geometry::{ImageSize, LatticeBox, Tile};

/// `found`: each tile of `picture` with its instances in px of the tile. The order is that of [`super::decode`].
pub fn merge_tiles(picture: ImageSize, found: Vec<(Tile, Vec<Instance>)>) -> Vec<Instance> {
    let tiles: Vec<Tile> = found.iter().map(|(tile, _)| *tile).collect();
    let of_tile = |(index, (tile, instances)): (usize, (Tile, Vec<Instance>))| {
        let piece = move |instance| Seen::piece(instance, index, &tile, picture);
        instances.into_iter().map(piece).collect::<Vec<Seen>>()
    };
    let pieces: Vec<Seen> = found.into_iter().enumerate().flat_map(of_tile).collect();
    let pairs = pairs(&pieces);
    let mut is_part = vec![false; pieces.len()];
    for pair in &pairs {
        for (part, whole) in [(pair.a, pair.b), (pair.b, pair.a)] {
            let (p, w) = (&pieces[part], &pieces[whole]);
            is_part[part] |= p.is_cut && !w.is_cut && 2 * pair.both >= p.area && decides(w, p);
        }
    }
    for (piece, is_part) in pieces.iter().zip(&mut is_part) {
        *is_part |= piece.is_sliver && tiles.iter().any(|tile| piece.is_shown_by(tile, picture));
    }
    let groups = groups(&pieces, &pairs, &tiles, &is_part);
    let mut pieces: Vec<Option<Seen>> = pieces.into_iter().map(Some).collect();
    let mut take = |members: Vec<usize>| -> Vec<Seen> { members.iter().filter_map(|&i| pieces[i].take()).collect() };
    let objects = groups.into_iter().filter_map(|members| unite(take(members))).collect();
    let mut instances: Vec<Instance> = settle(objects).into_iter().map(|seen| seen.instance).collect();
    let rank = |i: &Instance| (i.score, i.class_id, i.bounds);
    instances.sort_by(|a, b| by_rank(rank(a), rank(b)));
    instances
}

/// A piece, or an object put together from several.
struct Seen {
    instance: Instance,
    /// Of the tiles, where it was seen.
    tiles: Vec<usize>,
    is_cut: bool,
    /// Cut, and less deep from the border than half its length along it.
    is_sliver: bool,
    /// Stands for the pixels where the mask has none.
    of_box: Option<MaskRuns>,
    area: u64,
}

/// Two that overlap, of one class and of different tiles.
struct Pair {
    a: usize,
    b: usize,
    /// Pixels of both.
    both: u64,
}

impl Seen {
    /// Whole, as far as is known.
    fn new(instance: Instance, tiles: Vec<usize>) -> Seen {
        let mut seen = Seen {
            instance,
            tiles,
            is_cut: false,
            is_sliver: false,
            of_box: None,
            area: 0,
        };
        if seen.pixels().is_none() {
            let [x0, y0, x1, y1] = pixel_edges(&seen.instance.bounds);
            seen.of_box = MaskRuns::rectangle(x0..x1, y0..y1);
        }
        seen.area = seen.pixels().map_or(0, |runs| u64::from(runs.area()));
        seen
    }

    /// `instance` is in px of the tile.
    fn piece(mut instance: Instance, index: usize, tile: &Tile, picture: ImageSize) -> Seen {
        instance.bounds = instance.bounds.moved(tile.x, tile.y);
        if let Some(mask) = &mut instance.mask {
            if let Some(soft) = &mut mask.soft {
                soft.roi = soft.roi.moved(tile.x, tile.y);
            }
            if let Some(runs) = &mut mask.runs {
                runs.x += tile.x;
                runs.y += tile.y;
            }
        }
        let mut seen = Seen::new(instance, vec![index]);
        let [left_or_right, top_or_bottom] = seen.ends_at(tile, picture);
        let [x0, y0, x1, y1] = seen.reach();
        let (width, height) = (u64::from(x1 - x0), u64::from(y1 - y0));
        seen.is_cut = left_or_right || top_or_bottom;
        seen.is_sliver = (left_or_right && 2 * width <= height) || (top_or_bottom && 2 * height <= width);
        seen
    }

    fn pixels(&self) -> Option<&MaskRuns> {
        let drawn = self.instance.mask.as_ref().and_then(|mask| mask.runs.as_ref());
        drawn.or(self.of_box.as_ref())
    }

    /// x0, y0, x1, y1 of the pixels; empty without any.
    fn extent(&self) -> [u32; 4] {
        self.pixels()
            .map_or([0; 4], |m| [m.x, m.y, m.x + m.width, m.y + m.height])
    }

    /// x0, y0, x1, y1 of pixels and box.
    fn reach(&self) -> [u32; 4] {
        let (b, p) = (pixel_edges(&self.instance.bounds), self.extent());
        match self.area {
            0 => b,
            _ => [b[0].min(p[0]), b[1].min(p[1]), b[2].max(p[2]), b[3].max(p[3])],
        }
    }

    /// Whether it comes close to a border of `tile` beyond which the picture goes on: left or right, top or bottom.
    fn ends_at(&self, tile: &Tile, picture: ImageSize) -> [bool; 2] {
        let [x0, y0, x1, y1] = self.reach();
        let ends = |low: u32, high: u32, shown: Range<u32>, side: u32| {
            let near = high.saturating_sub(low) / 16 + 1;
            (shown.start > 0 && low <= shown.start + near) || (shown.end < side && high + near >= shown.end)
        };
        [
            ends(x0, x1, tile.columns(), picture.width),
            ends(y0, y1, tile.rows(), picture.height),
        ]
    }

    /// Whether `tile` shows its place and more around it.
    fn is_shown_by(&self, tile: &Tile, picture: ImageSize) -> bool {
        let [x0, y0, x1, y1] = self.reach();
        let (columns, rows) = (tile.columns(), tile.rows());
        let holds = columns.start <= x0 && x1 <= columns.end && rows.start <= y0 && y1 <= rows.end;
        holds && self.ends_at(tile, picture) == [false; 2]
    }
}

/// Whole pixels that hold the box.
fn pixel_edges(b: &LatticeBox) -> [u32; 4] {
    let whole = |edge: i32| u32::try_from(edge.div_euclid(LatticeBox::STEPS)).unwrap_or(0);
    let above = |edge: i32| whole(edge.saturating_add(LatticeBox::STEPS - 1));
    [whole(b.x0), whole(b.y0), above(b.x1), above(b.y1)]
}

/// Whether `one` is sure enough to decide what becomes of `other`.
fn decides(one: &Seen, other: &Seen) -> bool {
    one.instance.score * 4.0 >= other.instance.score
}

/// Boxes before pixels, and those in order of their left edge: nothing is held against what lies far to the right.
fn pairs(seen: &[Seen]) -> Vec<Pair> {
    let extents: Vec<[u32; 4]> = seen.iter().map(Seen::extent).collect();
    let mut order: Vec<usize> = (0..seen.len()).collect();
    order.sort_by_key(|&i| extents[i]);
    let mut pairs = Vec::new();
    for (place, &i) in order.iter().enumerate() {
        let [_, top, right, bottom] = extents[i];
        for &j in order[place + 1..].iter().take_while(|&&j| extents[j][0] < right) {
            let apart = extents[j][1] >= bottom || extents[j][3] <= top;
            let (p, q) = (&seen[i], &seen[j]);
            if apart || p.instance.class_id != q.instance.class_id || p.tiles.iter().any(|t| q.tiles.contains(t)) {
                continue;
            }
            let both = p.pixels().zip(q.pixels()).map_or(0, |(a, b)| a.intersection(b));
            if both > 0 {
                let (a, b) = (i.min(j), i.max(j));
                pairs.push(Pair { a, b, both });
            }
        }
    }
    pairs
}

/// Rule 2: which pieces are one object; parts belong to none.
fn groups(pieces: &[Seen], pairs: &[Pair], tiles: &[Tile], is_part: &[bool]) -> Vec<Vec<usize>> {
    let score = |pair: &Pair| pieces[pair.a].instance.score.min(pieces[pair.b].instance.score);
    let agree = |pair: &&Pair| {
        let (a, b) = (&pieces[pair.a], &pieces[pair.b]);
        let (of_a, of_b) = (&tiles[a.tiles[0]], &tiles[b.tiles[0]]);
        if is_part[pair.a] || is_part[pair.b] || !(a.is_cut || b.is_cut) || !decides(a, b) || !decides(b, a) {
            return false;
        }
        if of_a.x != of_b.x && of_a.y != of_b.y {
            return false;
        }
        let within = |seen: &Seen, tile| seen.pixels().map_or(0, |runs| runs.area_within(tile));
        // Each lies in its own tile: what both tiles show of it is what the other tile shows, and so is what they share.
        3 * pair.both >= within(a, of_b) + within(b, of_a)
    };
    let mut links: Vec<&Pair> = pairs.iter().filter(agree).collect();
    links.sort_by(|p, q| {
        let by_score = score(q).total_cmp(&score(p));
        by_score.then((q.both, p.a, p.b).cmp(&(p.both, q.a, q.b)))
    });
    // A group is known by its first piece.
    let mut group_of: Vec<usize> = (0..pieces.len()).collect();
    let mut groups: Vec<Vec<usize>> = (0..pieces.len()).map(|i| vec![i]).collect();
    for link in links {
        let (a, b) = (group_of[link.a], group_of[link.b]);
        let (kept, other) = (a.min(b), a.max(b));
        let tile = |&i: &usize| pieces[i].tiles[0];
        let share_a_tile = || groups[a].iter().any(|p| groups[b].iter().any(|q| tile(p) == tile(q)));
        if a == b || share_a_tile() {
            continue;
        }
        let moved = std::mem::take(&mut groups[other]);
        for &piece in &moved {
            group_of[piece] = kept;
        }
        groups[kept].extend(moved);
    }
    let is_object = |members: &Vec<usize>| members.first().is_some_and(|&i| !is_part[i]);
    groups.into_iter().filter(is_object).collect()
}

/// One object of pieces of different tiles.
fn unite(pieces: Vec<Seen>) -> Option<Seen> {
    let more = |p: &&Seen, q: &&Seen| {
        let by_area = p.area.cmp(&q.area);
        by_area.then(p.instance.score.total_cmp(&q.instance.score))
    };
    if pieces.len() < 2 {
        return pieces.into_iter().next();
    }
    let mut instance = pieces.iter().max_by(more)?.instance.clone();
    for LatticeBox { x0, y0, x1, y1 } in pieces.iter().map(|p| p.instance.bounds) {
        let all = &mut instance.bounds;
        (all.x0, all.y0) = (all.x0.min(x0), all.y0.min(y0));
        (all.x1, all.y1) = (all.x1.max(x1), all.y1.max(y1));
    }
    let drawn = || pieces.iter().filter_map(|p| p.instance.mask.as_ref()?.runs.as_ref());
    if let Some(mask) = &mut instance.mask {
        *mask = InstanceMask {
            soft: None,
            runs: MaskRuns::union(drawn()),
        };
    }
    let tiles = pieces.iter().flat_map(|p| p.tiles.iter().copied()).collect();
    Some(Seen::new(instance, tiles))
}

/// Rules 3 and 4.
fn settle(objects: Vec<Seen>) -> Vec<Seen> {
    let pairs = pairs(&objects);
    let mut others: Vec<Vec<(usize, u64)>> = vec![Vec::new(); objects.len()];
    for pair in &pairs {
        others[pair.a].push((pair.b, pair.both));
        others[pair.b].push((pair.a, pair.both));
    }
    // Whole ones by score, then the pieces left alone by area: each is judged by those before it that stay.
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.sort_by(|&i, &j| {
        let (p, q) = (&objects[i], &objects[j]);
        p.is_cut.cmp(&q.is_cut).then(match p.is_cut {
            true => q.area.cmp(&p.area),
            false => q.instance.score.total_cmp(&p.instance.score),
        })
    });
    let mut stays = vec![false; objects.len()];
    for i in order {
        let object = &objects[i];
        let is_said = |&(j, both): &(usize, u64)| {
            stays[j]
                && match object.is_cut {
                    true => 2 * both >= object.area && decides(&objects[j], object),
                    false => 3 * both >= object.area + objects[j].area,
                }
        };
        stays[i] = !others[i].iter().any(is_said);
    }
    let mut stays = stays.into_iter();
    let mut objects = objects;
    objects.retain(|_| stays.next() == Some(true));
    objects
}

#[cfg(test)]
mod scene;
#[cfg(test)]
mod tests;
