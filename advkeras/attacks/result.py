"""What an attack returns."""

from dataclasses import dataclass

from advkeras.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class AttackResult:
    """What an attack found, as verified by forward passes of its own.

    Attributes:
        adversarials: (N, H, W, C) float32, in the pixel unit of the classifier. Where a minimum-norm attack found
            nothing, and where there was nothing to attack, the image itself.
        success: (N,) bool; untargeted: the image was classified correctly and the adversarial example is not;
            targeted: the image was not classified as the target and the adversarial example is. For an attack on
            region classification, by the region's vote.
        attacked: (N,) bool, whether there was anything to attack: untargeted, the image was classified correctly.
        distortion: (N,) float32, RMS over pixels and channels of adversarial minus image, in the pixel unit.
        predictions: (N,) int32, classes of the adversarial examples.
        benign_predictions: (N,) int32, classes of the images.
        forward_count: single images sent forward only, verification included.
        gradient_count: single images sent forward and backward; an ensemble's members count one each.
        zero_gradients: (N,) int32, gradients of each image (of its whole ensemble) that were zero everywhere.
        nonfinite_gradients: (N,) int32, gradients of each image of which something was NaN or infinite.
        seconds: wall-clock time, compilation included.
    """

    adversarials: FloatArray
    success: BoolArray
    attacked: BoolArray
    distortion: FloatArray
    predictions: IntArray
    benign_predictions: IntArray
    forward_count: int
    gradient_count: int
    zero_gradients: IntArray
    nonfinite_gradients: IntArray
    seconds: float

    @property
    def success_rate(self) -> float:
        """Successes over the images that were attacked; NaN where there were none."""
        return float(self.success.sum() / self.attacked.sum()) if self.attacked.any() else float("nan")

    @property
    def average_distortion(self) -> float:
        """Mean distortion of the successful examples; NaN where there are none."""
        return float(self.distortion[self.success].mean()) if self.success.any() else float("nan")
