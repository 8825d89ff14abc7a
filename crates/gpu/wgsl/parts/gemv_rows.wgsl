// What products of up to TOKENS rows with one matrix share: eight invocations an output, one a lane; the matrix is read
// once for the rows of a workgroup. The kernel says what its lanes add up.
//include tree
struct Params {
    n: u32,
    k: u32,        // values of a row
    t: u32,        // tokens of all
    parts: u32,    // 1, or 2: T rows behind its token lies a token's rest
    has_bias: u32, // 0: none, and the binding is not read
    adds: u32,     // 1: added to what is there
}
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> out: array<f32>; // [T, N]
@group(0) @binding(1) var<storage, read> bias: array<f32>;      // [N]

var<workgroup> lanes: array<f32, TOKENS * 64u>;

// The tokens of a workgroup: so many that their parts are TOKENS rows, and the last as many as are left.
struct Tokens { first: u32, count: u32 }

fn tokens_of(chunk: u32) -> Tokens {
    let most = TOKENS / p.parts;
    let first = chunk * most;
    return Tokens(first, min(most, p.t - first));
}

// Where a row is: those of the tokens, then their rests.
fn row_of(tokens: Tokens, slot: u32) -> u32 {
    return tokens.first + select(slot, p.t + slot - tokens.count, slot >= tokens.count);
}

fn folded(slot: u32, row: u32) -> f32 {
    let l = slot * 64u + row * 8u;
    return tree(
        lanes[l], lanes[l + 1u], lanes[l + 2u], lanes[l + 3u],
        lanes[l + 4u], lanes[l + 5u], lanes[l + 6u], lanes[l + 7u],
    );
}

// Folds what is in `lanes` and adds the bias, in two parts to the sum of both.
fn finish(first_row: u32, tokens: Tokens, li: u32) {
    workgroupBarrier();
    let row = li / 8u;
    let slot = li % 8u;
    if slot >= tokens.count || first_row + row >= p.n {
        return;
    }
    var added = 0.0;
    if p.has_bias == 1u {
        added = bias[first_row + row];
    }
    var product = folded(slot, row);
    if p.parts == 2u {
        product = (product + 0.0) + (folded(slot + tokens.count, row) + 0.0);
        if p.has_bias == 1u {
            product = product + added;
        }
    } else {
        product = product + added;
    }
    let place = (tokens.first + slot) * p.n + first_row + row;
    if p.adds == 1u {
        product = out[place] + product;
    }
    out[place] = product;
}
