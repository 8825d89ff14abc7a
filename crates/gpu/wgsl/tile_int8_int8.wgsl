// Products of int8 rows, in one part or two, with a matrix of int8, by tiles: the folded lanes plus the bias; in two
// parts both are added, and then the bias. The bits of `gemv_int8_int8`. Dispatch (32 rows each, 64 outputs each).
//include half
//include tile_rows
struct Params {
    n: u32,
    num_blocks: u32,
    t: u32,        // tokens
    parts: u32,    // 1, or 2: T rows behind its token lies a token's rest
    has_bias: u32, // 0: none, and the binding is not read
    adds: u32,     // 1: added to what is there
}
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> out: array<f32>;    // [T, N]
@group(0) @binding(1) var<storage, read> bias: array<f32>;         // [N]
@group(0) @binding(2) var<storage, read> values: array<vec4<u32>>; // [N, K / 32, 2]
@group(0) @binding(3) var<storage, read> scales: array<u32>;       // [N, K / 32] halves
@group(0) @binding(4) var<storage, read> x: array<vec4<u32>>;      // [parts, T, K / 32, 2]
@group(0) @binding(5) var<storage, read> x_scales: array<f32>;     // [parts, T, K / 32]

var<private> first_output: u32;
var<private> first_row: u32;

fn weight_block(output: u32, b: u32) -> Block {
    let row = first_output + output;
    if row >= p.n { return Block(); }
    let at = row * p.num_blocks + b;
    let scale = half((scales[at / 2u] >> (at % 2u * 16u)) & 0xffffu);
    return Block(values[2u * at], values[2u * at + 1u], vec2<u32>(bitcast<u32>(scale), 0u));
}

// In two parts the rest of a token is the row behind it.
fn input_block(row: u32, b: u32) -> Block {
    let token = (first_row + row) / p.parts;
    if token >= p.t { return Block(); }
    let at = (token + (first_row + row) % p.parts * p.t) * p.num_blocks + b;
    return Block(x[2u * at], x[2u * at + 1u], vec2<u32>(bitcast<u32>(x_scales[at]), 0u));
}

fn corrected(dots: vec4<i32>, words: vec4<u32>, word: u32) -> vec4<i32> { return dots; }

// Four outputs of a token.
fn finish(l: vec4<f32>, token: u32, column: u32) {
    if token >= p.t { return; }
    for (var i = 0u; i < 4u; i += 1u) {
        let output = first_output + column + 16u * i;
        if output >= p.n { return; }
        var offset = 0.0;
        if p.has_bias == 1u { offset = bias[output]; }
        var product = l[i] + offset;
        let place = token * p.n + output;
        if p.adds == 1u { product = out[place] + product; }
        out[place] = product;
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    first_row = wg.x * ROWS;
    first_output = wg.y * OUTPUTS;
    let row = first_row + li / 16u * 2u;
    let sums = products(p.num_blocks, row < p.t * p.parts, li);
    if p.parts == 2u {
        finish((sums.first + 0.0) + (sums.second + 0.0), row / 2u, li % 16u);
    } else {
        finish(sums.first, row, li % 16u);
        finish(sums.second, row + 1u, li % 16u);
    }
}
