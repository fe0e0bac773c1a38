//! When rows are looked at roughly first, by products of 16-bit integers, so that exact logits are made for few: where that
//! takes less time than it saves.

use crate::Head;
use crate::cpu::CpuProducts;
use crate::cpu::rough::integers::Integers;
use crate::cpu::rough::refine;
use crate::engine::Tolerance;
use crate::tolerance::RoundedTolerance;

/// Refined logits a row that take a part of what integers save, as a part of the classes.
const REFINED: usize = 24;

/// Blocks that took more, until it is not tried any more.
const PATIENCE: u8 = 2;

/// Products of a row, classes times numbers, from which on it pays where logits of every row are refined.
const WORTH_EACH: usize = 1 << 18;

/// What it takes.
pub(super) struct Products {
    pub(super) integers: Integers,
    /// How far rough logits may be off.
    pub(super) rough: RoundedTolerance,
    /// How far refined ones may be off.
    pub(super) refined: Tolerance,
}

/// See the module.
pub(super) struct Rough {
    products: Option<Products>,
    disappointments: u8,
    /// Also where it does not pay.
    always: bool,
}

impl Rough {
    /// That of a plan; `None` where rows are never looked at so.
    pub(super) fn new(products: CpuProducts) -> Option<Self> {
        let always = match products {
            CpuProducts::Float32 => return None,
            CpuProducts::Auto => false,
            CpuProducts::Int16 => true,
        };
        Some(Self {
            products: None,
            disappointments: 0,
            always,
        })
    }

    /// Whether the next block's rows are to be looked at so, of `each` of which logits will be refined, or of few. What it takes is
    /// made when it is first needed.
    pub(super) fn begin(&mut self, each: bool, head: &Head, stride: usize) -> bool {
        let worth = !each || head.weight().len() >= WORTH_EACH;
        let begins = self.always || worth && self.disappointments < PATIENCE;
        if begins && self.products.is_none() {
            let integers = Integers::new(head.weight(), head.dim(), stride);
            self.products = Some(Products {
                rough: RoundedTolerance::new(head, integers.error()),
                refined: Tolerance::new(head, refine::error(head.dim())),
                integers,
            });
        }
        begins
    }

    /// Notes how many logits of a block of `rows` rows and so many classes were refined.
    pub(super) fn end(&mut self, (rows, classes): (usize, usize), refined: usize) {
        if refined > rows * (3 + classes / REFINED) {
            self.disappointments = self.disappointments.saturating_add(1);
        }
    }

    pub(super) fn products(&self) -> Option<&Products> {
        self.products.as_ref()
    }
}
