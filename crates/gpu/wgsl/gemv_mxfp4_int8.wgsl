// Products of int8 rows that have middles with experts in MXFP4: block b goes to lane b mod 8, a lane adds
// sum * (row's scale * weights' scale) fused and ascending, then the tree, half of it plus the bias fused, or that added
// to what is there. `linear` of the CPU with `Mxfp4`. Row r of the output is expert `experts[r]` times input
// r / share. A workgroup eight outputs of a row, eight invocations an output: a step of theirs reads 128 bytes in a row.
//include mxfp4
//include tree
const ELSEWHERE: u32 = 0xffffffffu; // in the place of an expert: the row stays as it is
struct Params { n: u32, num_blocks: u32, share: u32, adds: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> out: array<f32>;         // [R, N]
@group(0) @binding(1) var<storage, read> codes: array<vec4<u32>>;       // [E, N, K / 32]
@group(0) @binding(2) var<storage, read> code_scales: array<u32>;       // [E, N, K / 32] bytes
@group(0) @binding(3) var<storage, read> x: array<vec4<u32>>;           // [R / share, K / 32, 2]: even, odd elements
@group(0) @binding(4) var<storage, read> x_beside: array<vec2<u32>>;    // [R / share, K / 32]
@group(0) @binding(5) var<storage, read> experts: array<u32>;           // [R]
@group(0) @binding(6) var<storage, read> bias: array<f32>;              // [E, N]

var<workgroup> lanes: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let row = wg.x * 8u + li / 8u;
    let lane = li % 8u;
    let expert = experts[wg.y];
    if expert == ELSEWHERE { return; }
    var sum = 0.0;
    if row < p.n {
        let first = (expert * p.n + row) * p.num_blocks;
        let x_first = wg.y / p.share * p.num_blocks;
        for (var b = lane; b < p.num_blocks; b += 8u) {
            let four = codes[first + b];
            let even = x[(x_first + b) * 2u];
            let odd = x[(x_first + b) * 2u + 1u];
            let beside = x_beside[x_first + b];
            var dot = 0;
            // Bytewise: eight times at most 24.
            var all = 0u;
            for (var i = 0u; i < 4u; i += 1u) {
                let low = plus_12(four[i]);
                let high = plus_12(four[i] >> 4u);
                dot += dot4I8Packed(low, even[i]) + dot4I8Packed(high, odd[i]);
                all += low + high;
            }
            let middle = bitcast<i32>(beside.y << 24u) >> 24u;
            let weights = bitcast<i32>(dot4U8Packed(all, 0x01010101u));
            // What is added to the weights meets values and middles alike.
            dot += middle * weights - (bitcast<i32>(beside.y) >> 8u);
            let at = first + b;
            let byte = (code_scales[at / 4u] >> (at % 4u * 8u)) & 255u;
            sum = fma(f32(dot), bitcast<f32>(beside.x) * power_of_two(byte), sum);
        }
    }
    lanes[li] = sum;
    workgroupBarrier();
    if lane == 0u && row < p.n {
        let l = tree(
            lanes[li], lanes[li + 1u], lanes[li + 2u], lanes[li + 3u],
            lanes[li + 4u], lanes[li + 5u], lanes[li + 6u], lanes[li + 7u],
        );
        let product = fma(l, 0.5, bias[expert * p.n + row]);
        let place = wg.y * p.n + row;
        if p.adds == 1u {
            out[place] = out[place] + product;
        } else {
            out[place] = product;
        }
    }
}
