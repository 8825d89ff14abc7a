// Adds each token's experts to its row in the order of their ranks: hidden += ((0 + w0 r0) + w1 r1) + ..., every product
// rounded. Dispatch (C over 64, rounded up; T).
struct Params {
    width: u32,     // C
    per_token: u32,    // A
    is_sorted: u32, // 0: row of an assignment is its number; 1: it is in `slots`
}
var<immediate> p: Params;
@group(0) @binding(0) var<storage, read> outputs: array<f32>;       // [T * A, C]: what the experts made
@group(0) @binding(1) var<storage, read> chosen: array<f32>;        // [T, A]: weights
@group(0) @binding(2) var<storage, read> slots: array<u32>;         // [T, A]
@group(0) @binding(3) var<storage, read_write> hidden: array<f32>;  // [T, C]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    let column = wg.x * 64u + li;
    if column >= p.width { return; }
    var update = 0.0;
    for (var place = 0u; place < p.per_token; place += 1u) {
        let assignment = wg.y * p.per_token + place;
        var slot = assignment;
        if p.is_sorted == 1u { slot = slots[assignment]; }
        update = update + chosen[assignment] * outputs[slot * p.width + column];
    }
    let at = wg.y * p.width + column;
    hidden[at] = hidden[at] + update;
}
