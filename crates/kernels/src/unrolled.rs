//! Loops that are unrolled in the source.

/// Repeats the work for the numbers from 0 that are below `$count`, a constant of at most 4, 8 or 16, as the
/// literal before it says.
///
/// The compiler does not unroll loops with much work; the arrays of vectors that they index would then be
/// kept in memory instead of registers.
macro_rules! unrolled {
    (4: $count:expr, |$index:ident| $work:block) => {
        unrolled!($count, $index, $work: 0 1 2 3)
    };
    (8: $count:expr, |$index:ident| $work:block) => {
        unrolled!($count, $index, $work: 0 1 2 3 4 5 6 7)
    };
    (16: $count:expr, |$index:ident| $work:block) => {
        unrolled!($count, $index, $work: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($count:expr, $index:ident, $work:block: $($number:literal)*) => {
        $(
            if $number < $count {
                let $index: usize = $number;
                $work
            }
        )*
    };
}
