// `rope_pairs` into a cache of bf16: the nearest, zero below 2^-60.
//include bf16
//include rope_pairs
@group(0) @binding(6) var<storage, read_write> keys: array<u32>;   // [rows, K, D]
@group(0) @binding(7) var<storage, read_write> values: array<u32>; // [rows, K, D]

fn two_bf16(low: f32, high: f32) -> u32 {
    return nearest_bf16(high, SMALLEST_KV) | (nearest_bf16(low, SMALLEST_KV) >> 16u);
}

fn put_key(at: u32, low: f32, high: f32) { keys[at / 2u] = two_bf16(low, high); }

fn put_value(at: u32, low: f32, high: f32) { values[at / 2u] = two_bf16(low, high); }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) li: u32) {
    rope(wg, li);
}
