"""Voxels in, voxels out: denoising, segmentation, one step of a differential equation."""
