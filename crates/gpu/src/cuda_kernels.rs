//! The kernels in CUDA C++ that are built in: with the feature `cuda`, the fat binaries that `cargo xtask
//! cuda` has made; without it none.

/// The images of every file of `cuda/`.
macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        #[cfg(test)]
        const FILES: &[&str] = &[$($name),*];

        /// Fat binaries, one a file.
        #[cfg(feature = "cuda")]
        pub(crate) const IMAGES: &[&[u8]] = &[$(include_bytes!(concat!(
            env!(
                "GPTOSS_CUDA_KERNELS",
                "the feature `cuda` embeds what `cargo xtask cuda` makes: \
                 set GPTOSS_CUDA_KERNELS to its folder, target/cuda"
            ),
            "/",
            $name,
            ".fatbin"
        ))),*];
    };
}

/// None without the feature `cuda`.
#[cfg(not(feature = "cuda"))]
pub(crate) const IMAGES: &[&[u8]] = &[];

built_in!(
    "attention",
    "best_tokens",
    "experts_collect",
    "experts_down",
    "experts_sort",
    "gemv_floats",
    "gemv_int8_int8",
    "gemv_mxfp4_f32",
    "gemv_mxfp4_int8",
    "probe_floats",
    "quantize_int8",
    "quantize_middles",
    "rmsnorm",
    "rope",
    "router_top_k",
    "swiglu",
    "swiglu_middles",
    "tile_int8_int8",
    "tile_mxfp4_int8",
);

#[cfg(test)]
mod tests {
    use super::FILES;

    #[test]
    fn every_file_of_kernels_is_built_in() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "cu"));
        let mut names: Vec<String> =
            files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        assert_eq!(names, FILES);
    }
}
