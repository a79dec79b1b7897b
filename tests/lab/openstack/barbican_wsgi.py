"""Barbican's API, able to use SoftHSM.

Barbican Zed wraps project keys with a fixed CKM_AES_CBC_PAD, which SoftHSM 2.6 cannot do in C_WrapKey (CKR_MECHANISM_INVALID).
Later Barbicans have the option [p11_crypto_plugin]key_wrap_mechanism; this does the same here, with CKM_AES_KEY_WRAP_PAD
(RFC 5649), which takes no parameter.  The stored IV is kept for the table's sake, unused.
"""
from barbican.plugin.crypto import pkcs11 as p

CKM_AES_KEY_WRAP_PAD = 0x210A


def _mechanism(self):
    m = self.ffi.new('CK_MECHANISM *')
    m.mechanism, m.parameter, m.parameter_len = CKM_AES_KEY_WRAP_PAD, self.ffi.NULL, 0
    return m


def wrap_key(self, wrapping_key, key_to_wrap, session):
    m, size = _mechanism(self), self.ffi.new('CK_ULONG *')
    self._check_error(self.lib.C_WrapKey(session, m, wrapping_key, key_to_wrap, self.ffi.NULL, size))
    buf = self.ffi.new('CK_BYTE[{0}]'.format(size[0]))
    self._check_error(self.lib.C_WrapKey(session, m, wrapping_key, key_to_wrap, buf, size))
    return {'iv': self.ffi.buffer(self._generate_random(16, session))[:], 'wrapped_key': self.ffi.buffer(buf, size[0])[:]}


def unwrap_key(self, wrapping_key, iv, wrapped_key, session):
    m, out, wrapped = _mechanism(self), self.ffi.new('CK_OBJECT_HANDLE *'), self.ffi.new('CK_BYTE[]', wrapped_key)
    template = self._build_attributes([
        p.Attribute(p.CKA_CLASS, p.CKO_SECRET_KEY), p.Attribute(p.CKA_KEY_TYPE, p.CKK_AES),
        p.Attribute(p.CKA_TOKEN, False), p.Attribute(p.CKA_PRIVATE, True), p.Attribute(p.CKA_SENSITIVE, True),
        p.Attribute(p.CKA_ENCRYPT, True), p.Attribute(p.CKA_DECRYPT, True), p.Attribute(p.CKA_EXTRACTABLE, True)])
    self._check_error(self.lib.C_UnwrapKey(
        session, m, wrapping_key, wrapped, len(wrapped_key), template.template, len(template.template), out))
    return out[0]


p.PKCS11.wrap_key, p.PKCS11.unwrap_key = wrap_key, unwrap_key
from barbican.api.app import get_api_wsgi_script  # noqa: E402

application = get_api_wsgi_script()
