// `attention_row` over a cache of f32. Dispatch (K * lane groups, T).
//include attention_f32
//include attention_row
@group(0) @binding(5) var<storage, read> sinks: array<f32>;     // [H]
@group(0) @binding(6) var<storage, read_write> out: array<f32>; // [T, H, D]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    attend_row(wg, li);
}
