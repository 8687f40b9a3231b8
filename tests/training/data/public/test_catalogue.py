from torch_geometric.datasets import Amazon, Coauthor, Planetoid

from rbm_training.data.public.catalogue import PUBLIC_SETS


def test_files_come_from_where_pytorch_geometric_downloads_them():
    for name, theirs in (("cora", Planetoid), ("amazon-photo", Amazon), ("coauthor-cs", Coauthor)):
        assert PUBLIC_SETS[name].files.url == theirs.url.rstrip("/")
