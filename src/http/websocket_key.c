/* The two keys of the WebSocket handshake (RFC 6455 §4). */
#include <openssl/evp.h>

#include "base/random.h"
#include "http/websocket.h"

void ws_accept_key(struct str key, char out[static 29])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    ASSERT(context && EVP_DigestInit_ex(context, EVP_sha1(), NULL) && EVP_DigestUpdate(context, key.data, key.len) &&
           EVP_DigestUpdate(context, guid, sizeof(guid) - 1) && EVP_DigestFinal_ex(context, digest, &len));
    EVP_MD_CTX_free(context);
    (void)EVP_EncodeBlock((unsigned char *)out, digest, (int)len);
}

void ws_random_key(char out[static 25])
{
    unsigned char nonce[16];

    random_bytes(nonce, sizeof(nonce));
    (void)EVP_EncodeBlock((unsigned char *)out, nonce, (int)sizeof(nonce));
}
