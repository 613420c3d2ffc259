"""What happens to an image before a network sees it: intensity normalisation and the working voxel size."""
