"""A folder on its way to a model hub, by huggingface_hub."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mos_client.errors import HubError

_NAME: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Hub:
    """A repository on a hub that this user may write."""

    repository: str
    """`OWNER/NAME`."""

    token: str
    private: bool = True
    """Whether a repository that is made now is private."""

    @staticmethod
    def open(repository: str, *, private: bool = True) -> "Hub":
        """The repository, with the token of the environment or of `hf auth login`.

        Nothing is sent yet. `$HF_ENDPOINT` names another hub than huggingface.co.

        Raises:
            HubError: not a repository's name, or no token.
        """
        from huggingface_hub import get_token

        if not _NAME.fullmatch(repository):
            raise HubError(f"--to {repository}: write it as OWNER/NAME")
        token = get_token()
        if not token:
            raise HubError(
                f"--to {repository}: no token; set $HF_TOKEN or run `hf auth login`, "
                "or leave --to out and upload the folder yourself"
            )
        return Hub(repository, token, private)

    def push(self, folder: Path) -> str:
        """Upload a folder as one commit; the repository is made where there is none.

        Returns:
            Address of the commit.

        Raises:
            HubError: the hub refused, or cannot be reached; nothing was committed.
        """
        from huggingface_hub import HfApi

        api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=self.token)
        try:
            api.create_repo(self.repository, private=self.private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=self.repository,
                folder_path=folder,
                commit_message="mos-client publish",
            )
        # Of the hub's answers, of the connection, and of the folder.
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise HubError(
                f"--to {self.repository}: not uploaded ({reason}); {folder} is "
                "complete, and can be uploaded again"
            ) from error
        return str(commit.commit_url)
