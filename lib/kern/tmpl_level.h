/*
 * tmpl_level.h - the end of a SIMD file: the probe of its object, and its entries in the table.
 */

/* As us_contracted, for a product and a sum of vectors, which a compiler may also take for an fma. */
static US_NOINLINE int vectors_contracted(void) {
    volatile float a = 0x1.001p+0f, c = -0x1.002p+0f;
    float r[VW];

    v_store(r, v_add(v_mul(v_set1(a), v_set1(a)), v_set1(c)));
    return r[0] != 0;
}

int US_LEVEL(struct us_kernels *k) {
    if (us_contracted() || vectors_contracted())
        return -1;
    k->name = US_LEVEL_NAME;
    k->conv = conv;
    k->wino_input = wino_input;
    k->wino_input_load = wino_input_load;
    k->wino_output = wino_output;
    k->wino_weights = wino_weights;
    k->wino_group = TILE_BLOCKS;
    k->wino_batch = WINO_BATCH;
    k->wino_multiply = wino_multiply;
    k->quant_group = TILE_BLOCKS;
    k->quant_batch = QUANT_BATCH;
    k->quant_multiply = quant_multiply;
    k->quant_input = quant_input;
    k->quant_output = quant_output;
    k->quant_row = quant_row;
    k->quant_bytes = quant_bytes;
    k->dequant_row = dequant_row;
    k->widen_row = widen_row;
    k->pool_bytes = pool_bytes;
    k->depthwise = depthwise;
    k->affine_act = affine_act;
    k->pool = pool;
    k->up_nearest = up_nearest;
    k->up_bilinear = up_bilinear;
    k->add = add;
    k->mul = mul;
    k->row_moments = row_moments;
    k->head = head;
    if (US_TRAINING) {
        k->conv_bwdw = conv_bwdw;
        k->conv_flip = conv_flip;
        k->depthwise_bwdw = depthwise_bwdw;
        k->wino_gradient = wino_gradient;
        k->wino_weights_grad = wino_weights_grad;
        k->wino_accumulate = wino_accumulate;
        k->act_grad = act_grad;
        k->pool_grad = pool_grad;
        k->up_nearest_grad = up_nearest_grad;
        k->up_bilinear_grad = up_bilinear_grad;
        k->row_moments_grad = row_moments_grad;
        k->norm_grad = norm_grad;
        k->head_grad_data = head_grad_data;
        k->head_grad_weights = head_grad_weights;
        k->block_sum_squares = block_sum_squares;
        k->adam = adam;
        k->sgd = sgd;
    }
    return 0;
}
