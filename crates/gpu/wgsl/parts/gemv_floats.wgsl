// Products of f32 rows with a matrix whose numbers are exact in f32: element k goes to lane k mod 8, a lane adds fused
// and ascending, then the tree plus the bias. The kernel says what `weight(row, k)` is.
//include gemv_rows
@group(0) @binding(2) var<storage, read> x: array<f32>; // [T, K]

fn gemv(first_row: u32, chunk: u32, li: u32) {
    let tokens = tokens_of(chunk);
    let row = first_row + li / 8u;
    var sums = array<f32, TOKENS>();
    if row < p.n {
        for (var k = li % 8u; k < p.k; k += 8u) {
            let w = weight(row, k);
            for (var slot = 0u; slot < TOKENS; slot += 1u) {
                if slot < tokens.count {
                    sums[slot] = fma(x[(tokens.first + slot) * p.k + k], w, sums[slot]);
                }
            }
        }
    }
    for (var slot = 0u; slot < TOKENS; slot += 1u) {
        lanes[slot * 64u + li] = sums[slot];
    }
    finish(first_row, tokens, li);
}
