"""C-ECHO: whether the DICOM server of a PACS answers (PS3.4 A)."""

from __future__ import annotations

import logging

from app.pacs.configured import PacsSettings
from app.pacs.faults import NotLetIn, PacsDown, Refused

_VERIFICATION = "1.2.840.10008.1.1"


def echo(settings: PacsSettings) -> None:
    """Return once the PACS has answered a C-ECHO.

    Raises:
        PacsDown: nothing answers there in time.
        NotLetIn: it rejects the association: it does not know ``own_aet``, or is not ``aet``.
        Refused: it does not answer with success.
    """
    from pynetdicom import AE

    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it would repeat what it is sent
    assert settings.dicom_address is not None and settings.aet is not None
    host, port = settings.dicom_address
    entity = AE(ae_title=settings.own_aet)
    entity.connection_timeout = settings.connect_s
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = settings.read_s
    entity.add_requested_context(_VERIFICATION)
    line = entity.associate(host, port, ae_title=settings.aet)
    try:
        if line.is_rejected:
            raise NotLetIn(
                f"The DICOM server of the PACS {settings.name} rejects {settings.own_aet}. It must "
                f"know this AE title, and its own must be {settings.aet}."
            )
        if not line.is_established:
            raise PacsDown(
                f"The DICOM server of the PACS {settings.name} does not answer at {host}:{port}."
            )
        status = line.send_c_echo()
        if getattr(status, "Status", None) != 0:
            raise Refused(
                f"The DICOM server of the PACS {settings.name} does not answer C-ECHO with success."
            )
    finally:
        if line.is_established:
            line.release()
