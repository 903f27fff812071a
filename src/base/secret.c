#include "base/secret.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

void sha256_bytes(struct str data, unsigned char out[static 32])
{
    ASSERT(EVP_Digest(data.len ? data.data : "", data.len, out, NULL, EVP_sha256(), NULL) == 1);
}

void sha256_hex(struct str data, char out[static 65])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[32];
    sha256_bytes(data, bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        out[2 * i] = hex[bytes[i] >> 4];
        out[2 * i + 1] = hex[bytes[i] & 15];
    }
    out[64] = '\0';
}

bool secret_equal(struct str a, struct str b)
{
    return a.len == b.len && CRYPTO_memcmp(a.len ? a.data : "", b.len ? b.data : "", a.len) == 0;
}

char *base64_decode(const char *text, size_t *len)
{
    size_t coded = strlen(text), padding = 0;

    while (padding < coded && text[coded - 1 - padding] == '=')
        padding++;
    if (coded % 4 != 0 || coded > INT_MAX || padding > 2)
        return NULL;
    char *out = xcalloc(1, coded + 1);
    int written = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)coded);
    if (written < 0) {
        free(out);
        return NULL;
    }
    *len = (size_t)written - padding;
    out[*len] = '\0';
    return out;
}

void secret_free(char *secret)
{
    if (!secret)
        return;
    explicit_bzero(secret, strlen(secret));
    free(secret);
}
