#include "gateway/page.h"

/* Made from the folder ui/ by tools/embed. */
extern const struct page_file page_files[];
extern const size_t page_file_count;

const struct page_file *page_find(struct str path)
{
    for (size_t i = 0; i < page_file_count; i++)
        if (str_equal_text(path, page_files[i].path))
            return &page_files[i];
    return NULL;
}
