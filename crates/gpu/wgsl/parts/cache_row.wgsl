// The position of a row that is nobody's.
const IDLE: u32 = 0xffffffffu;

// Where a position of a sequence lies in a layer's keys and values: in its ring if the layer has rings, else in one
// of its blocks of 32.
fn cache_row(row: vec4<u32>, position: u32) -> u32 {
    if p.ring_rows > 0u { return row.z * p.ring_rows + position % p.ring_rows; }
    return table[row.y + position / 32u] * 32u + position % 32u;
}
