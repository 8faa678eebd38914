/* calibration.h - preparing a trained model for sessions of 8 bits. */
#ifndef COMMON_CALIBRATION_H
#define COMMON_CALIBRATION_H

#include "problem.h"
#include "unetstar.h"

/* Calibrates on `images` of the set, evenly chosen; on all where it has fewer. */
int calibrate_model(unetstar_model *model, const unetstar_dataset *set, int64_t images, const unetstar_cancel *cancel,
                    struct problem *problem);

#endif
