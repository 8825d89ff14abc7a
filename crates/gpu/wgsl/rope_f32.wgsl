// `rope_pairs` into a cache of f32: the numbers as they are.
//include rope_pairs
@group(0) @binding(6) var<storage, read_write> keys: array<f32>;   // [rows, K, D]
@group(0) @binding(7) var<storage, read_write> values: array<f32>; // [rows, K, D]

fn put_key(at: u32, low: f32, high: f32) {
    keys[at] = low;
    keys[at + 1u] = high;
}

fn put_value(at: u32, low: f32, high: f32) {
    values[at] = low;
    values[at + 1u] = high;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    rope(wg, li);
}
