// `attention_span` over a cache of f32. Dispatch (spans, K * lane groups, T).
//include attention_f32
//include attention_span
@group(0) @binding(5) var<storage, read_write> partials: array<f32>; // [T, K * lane groups, spans_max, LANES, 2 + D]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    attend_span(wg, li);
}
