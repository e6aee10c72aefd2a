"""What is not simply right on networks made for one kind of layer, as in `expected.py`."""

EXPECTED_OF_LAYERS: dict[str, dict[str, str]] = {
    "in place": {
        "gradient_shap": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "functions": {
        "integrated_gradients": "warned: path",
        "neuron_conductance": "warned: path",
        "pattern_net": "warned: signals",
        "meaningful_perturbation": "warned: mask",
    },
    "dropout": {
        "gradient_shap": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "GELU": {
        "gradient_shap": "warned: path",
        "neuron_conductance": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "SiLU": {
        "gradient_shap": "warned: path",
        "neuron_conductance": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "Softplus": {
        "gradient_shap": "warned: path",
        "neuron_conductance": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "Hardswish": {
        "gradient_shap": "warned: path",
        "neuron_conductance": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "GLU": {
        "gradient_shap": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "weight norm": {
        "gradient_shap": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "spectral norm": {
        "integrated_gradients": "warned: path",
        "gradient_shap": "warned: path",
        "neuron_conductance": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "checkpointing": {
        "gradient_shap": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "reentrant checkpointing": {
        "gradient_shap": "warned: path",
        "meaningful_perturbation": "warned: mask",
    },
    "einsum attention": {
        "integrated_gradients": "warned: path",
        "gradient_shap": "warned: path",
        "neuron_conductance": "warned: path",
        "grad_cam_pp": "refused: silent",
        "ablation_cam": "refused: silent",
        "meaningful_perturbation": "warned: mask",
        "misure": "refused: dice",
    },
    "SDPA": {
        "integrated_gradients": "warned: path",
        "gradient_shap": "warned: path",
        "neuron_conductance": "warned: path",
        "grad_cam_pp": "refused: silent",
        "ablation_cam": "refused: silent",
        "meaningful_perturbation": "warned: mask",
        "misure": "refused: dice",
    },
    "MultiheadAttention": {
        "gradient_shap": "warned: path",
        "neuron_conductance": "warned: path",
        "grad_cam": "refused: silent",
        "guided_grad_cam": "refused: silent",
        "xres_cam": "refused: silent",
        "ablation_cam": "refused: silent",
        "meaningful_perturbation": "warned: mask",
        "misure": "refused: dice",
    },
}
