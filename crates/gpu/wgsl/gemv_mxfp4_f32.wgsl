// Products of f32 rows with experts in MXFP4: element k goes to lane k mod 8, a lane adds fused and ascending, then the
// tree plus the bias, or that added to what is there. `linear` of the CPU with `Mxfp4` and f32 rows. Row r of the output
// is expert `experts[r]` times input r / share. A workgroup eight outputs of a row.
//include mxfp4
//include tree
const ELSEWHERE: u32 = 0xffffffffu; // in the place of an expert: the row stays as it is
struct Params { n: u32, num_blocks: u32, share: u32, adds: u32 }
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read_write> out: array<f32>;   // [R, N]
@group(0) @binding(1) var<storage, read> codes: array<u32>;       // [E, N, K / 32, 4]
@group(0) @binding(2) var<storage, read> code_scales: array<u32>; // [E, N, K / 32] bytes
@group(0) @binding(3) var<storage, read> x: array<f32>;           // [R / share, K]
@group(0) @binding(4) var<storage, read> experts: array<u32>;     // [R]
@group(0) @binding(5) var<storage, read> bias: array<f32>;        // [E, N]

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
        let x_first = wg.y / p.share * p.num_blocks * 32u;
        for (var b = 0u; b < p.num_blocks; b += 1u) {
            let at = first + b;
            let scale = power_of_two((code_scales[at / 4u] >> (at % 4u * 8u)) & 255u);
            // Eight codes a word, one a lane.
            for (var i = 0u; i < 4u; i += 1u) {
                let weight = e2m1(codes[at * 4u + i] >> (lane * 4u)) * scale;
                sum = fma(x[x_first + b * 32u + i * 8u + lane], weight, sum);
            }
        }
    }
    lanes[li] = sum;
    workgroupBarrier();
    if lane == 0u && row < p.n {
        let l = tree(
            lanes[li], lanes[li + 1u], lanes[li + 2u], lanes[li + 3u],
            lanes[li + 4u], lanes[li + 5u], lanes[li + 6u], lanes[li + 7u],
        );
        let product = l + bias[expert * p.n + row];
        let place = wg.y * p.n + row;
        if p.adds == 1u {
            out[place] = out[place] + product;
        } else {
            out[place] = product;
        }
    }
}
