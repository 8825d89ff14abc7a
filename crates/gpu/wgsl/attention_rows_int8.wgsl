// `attention_row` over a cache of int8 with a scale a head. Dispatch (K * lane groups, T).
//include attention_int8
//include attention_row
@group(0) @binding(7) var<storage, read> sinks: array<f32>;     // [H]
@group(0) @binding(8) var<storage, read_write> out: array<f32>; // [T, H, D]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    attend_row(wg, li);
}
