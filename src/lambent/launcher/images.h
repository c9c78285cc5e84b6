#ifndef LAMBENT_IMAGES_H
#define LAMBENT_IMAGES_H

#include "config.h"

/* Build every image's mount namespace; answers nothing, keeps the descriptors. */
int images_build(const struct config *config, struct failure *failure);
/* The mount namespace of an image by its NUL-padded name, or -1. */
int image_find(const char name[IMAGE_NAME_MAX]);

#endif
